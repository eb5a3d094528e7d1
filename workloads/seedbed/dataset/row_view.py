"""A view of a dataset: the rows of one split, subset and fold, in row order."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.dataset.file_format import Shard


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ViewShard:
    """The part of a shard that a view covers; row = first_row + position."""

    shard: int
    """Position of the shard in `Manifest.shards`."""
    first_row: int
    rows: int
    """Rows that the view covers: all of the shard, or the length of `selected`."""
    selected: npt.NDArray[np.int32] | None
    """Positions inside the shard, ascending; None means every row."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class RowView:
    """Shards in row order; shards without a selected row are left out."""

    shards: tuple[ViewShard, ...]

    @property
    def count(self) -> int:
        """Return the number of rows of the view."""
        return sum(shard.rows for shard in self.shards)

    def row_numbers(self) -> npt.NDArray[np.int64]:
        """Return the row numbers of the view, ascending, shape (count,)."""
        return np.concatenate([np.empty(0, np.int64), *(_numbers(shard) for shard in self.shards)])


def _numbers(shard: ViewShard) -> npt.NDArray[np.int64]:
    positions = (
        np.arange(shard.rows, dtype=np.int64) if shard.selected is None else shard.selected.astype(np.int64)
    )
    return shard.first_row + positions


def all_rows(number: int, shard: Shard) -> ViewShard:
    """Return the view of all rows of a shard."""
    return ViewShard(shard=number, first_row=shard.first_row, rows=shard.rows, selected=None)


def selected_rows(number: int, shard: Shard, selected: npt.NDArray[np.int32]) -> ViewShard:
    """Return the view of the selected rows of a shard."""
    return ViewShard(shard=number, first_row=shard.first_row, rows=len(selected), selected=selected)
