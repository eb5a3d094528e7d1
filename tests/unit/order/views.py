"""Views to order: the shape of `seedbed.dataset.View` without a dataset behind it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class FakeShard:
    shard: int
    first_row: int
    rows: int
    selected: np.ndarray | None = None


@dataclass(frozen=True)
class FakeView:
    shards: tuple[FakeShard, ...]
    count: int = field(init=False)

    def __post_init__(self):
        object.__setattr__(self, "count", len(self.every_row()))

    def every_row(self) -> list[int]:
        return [
            shard.first_row + position
            for shard in self.shards
            for position in (range(shard.rows) if shard.selected is None else shard.selected.tolist())
        ]


def a_view(*sizes: int, keep=None) -> FakeView:
    """Build a view of shards of these sizes; `keep(shard, position)` selects rows."""
    shards, first = [], 100
    for number, rows in enumerate(sizes):
        selected = None
        if keep is not None:
            selected = np.array([p for p in range(rows) if keep(number, p)], np.int32)
        shards.append(FakeShard(number, first, rows, selected))
        first += rows
    return FakeView(tuple(shards))
