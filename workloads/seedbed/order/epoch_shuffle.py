"""The shuffle of an epoch: shards are permuted, then rows are shuffled in windows of k consecutive shards.

Computed window by window on demand: an epoch of 50 million rows is never held. A small cache of
recent windows saves time; no row depends on it.
"""

from __future__ import annotations

import threading
from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

if TYPE_CHECKING:
    from seedbed.dataset import RowView, ViewShard
from enum import IntEnum

WINDOW: Final = 8
"""Shards per shuffle window; part of the run identity."""

_KEPT_EPOCHS: Final = 2
_KEPT_WINDOWS: Final = 3

Rows = npt.NDArray[np.int64]


class EpochShuffle:
    """The order of rows as a function of (seed, epoch, view), computed in slices of an epoch."""

    def __init__(self, *, seed: int, view: RowView, window: int = WINDOW) -> None:
        """Take a seed in [0, 2**64), a view of at least one row and a window of at least one shard."""
        assert 0 <= seed < 2**64, seed
        assert window >= 1, window
        assert view.count >= 1, "the view has no rows"
        self.seed = seed
        self.view = view
        self.window = window
        self._epochs: MutableMapping[int, tuple[Rows, Rows]] = LRUCache(_KEPT_EPOCHS)
        self._windows: MutableMapping[tuple[int, int], Rows] = LRUCache(_KEPT_WINDOWS)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return (_restore, (self.seed, self.view, self.window))

    @property
    def count(self) -> int:
        """Return N, the rows of one epoch."""
        return self.view.count

    def rows(self, epoch: int, start: int, stop: int) -> Rows:
        """Return the dataset row numbers at positions [start, stop) of an epoch, shape (stop - start,)."""
        assert 0 <= start <= stop <= self.count, (start, stop, self.count)
        if start == stop:
            return np.empty(0, np.int64)
        with self._lock:
            return self._slice(epoch, start, stop)

    def _touched(self, epoch: int, start: int, stop: int) -> range:
        bounds = self._layout(epoch)[1]
        first = int(np.searchsorted(bounds, start, side="right")) - 1
        last = int(np.searchsorted(bounds, stop, side="left"))
        return range(first, last)

    def _slice(self, epoch: int, start: int, stop: int) -> Rows:
        bounds = self._layout(epoch)[1]
        touched = self._touched(epoch, start, stop)
        base = int(bounds[touched.start])
        rows = np.concatenate([self._shuffled(epoch, window) for window in touched])
        return rows[start - base : stop - base]

    def _layout(self, epoch: int) -> tuple[Rows, Rows]:
        """Return the permuted shards, shape (S,), and the windows' first positions."""
        if epoch not in self._epochs:
            self._epochs[epoch] = self._compute_layout(epoch)
        return self._epochs[epoch]

    def _compute_layout(self, epoch: int) -> tuple[Rows, Rows]:
        counts = np.array([_count(shard) for shard in self.view.shards], np.int64)
        order = permutation(len(counts), seed=self.seed, purpose=Purpose.SHARDS, epoch=epoch)
        ends = np.concatenate([[0], np.cumsum(counts[order])])
        starts = np.append(np.arange(0, len(counts), self.window), len(counts))
        return order, ends[starts]

    def _shuffled(self, epoch: int, window: int) -> Rows:
        key = (epoch, window)
        if key not in self._windows:
            self._windows[key] = self._compute_window(epoch, window)
        return self._windows[key]

    def _compute_window(self, epoch: int, window: int) -> Rows:
        order = self._layout(epoch)[0]
        members = order[window * self.window : (window + 1) * self.window]
        rows = np.concatenate([_rows(self.view.shards[shard]) for shard in members.tolist()])
        return rows[permutation(len(rows), seed=self.seed, purpose=Purpose.WINDOW, epoch=epoch, block=window)]


def _count(shard: ViewShard) -> int:
    return shard.rows if shard.selected is None else len(shard.selected)


def _rows(shard: ViewShard) -> Rows:
    positions = np.arange(shard.rows) if shard.selected is None else shard.selected.astype(np.int64)
    return shard.first_row + positions


def _restore(seed: int, view: RowView, window: int) -> EpochShuffle:
    return EpochShuffle(seed=seed, view=view, window=window)


class Purpose(IntEnum):
    """What a stream of keys is for; part of the Philox key, so that no two purposes share a number."""

    SHARDS = 1
    WINDOW = 2


def permutation(
    count: int, *, seed: int, purpose: Purpose, epoch: int, block: int = 0
) -> npt.NDArray[np.int64]:
    """Return a permutation of range(count), shape (count,): the stable argsort of 64-bit Philox keys.

    The Philox key is (seed, purpose), its counter (running, block, epoch, 0).
    """
    key = np.array([seed, purpose], np.uint64)  # a plain list with a seed above 2**63 would become floats
    generator = np.random.Philox(key=key, counter=np.array([0, block, epoch, 0], np.uint64))
    return np.argsort(generator.random_raw(count), kind="stable")
