"""How all trials stand at each rung: columns by index, for a rank among thousands in microseconds."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seedbed.search.pruners import Rivals

_NEVER = np.iinfo(np.int32).max

Keys = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class Standings:
    """Values by rung and index. Keys are smaller where a value is better; rungs are numbered from 0."""

    def __init__(self) -> None:
        self._size = 64
        self._keys: dict[int, Keys] = {}
        self._there: dict[int, Flags] = {}
        self._final_from = np.full(self._size, _NEVER, np.int32)
        self._final_counts = np.zeros(self._size, np.bool_)
        self._final_key = np.zeros(self._size, np.int64)

    def reach(self, index: int, rung: int, key: int) -> None:
        """A trial has reached a rung."""
        self._grow(index)
        self._column(rung)[index] = key
        self._there[rung][index] = True

    def end(self, index: int, rung: int, key: int | None) -> None:
        """From a rung on a trial stays at a key; None where it counts no more."""
        self._grow(index)
        self._final_from[index] = rung
        self._final_counts[index] = key is not None
        self._final_key[index] = key or 0

    def rivals(self, index: int, rung: int) -> Rivals:
        """Return how the trials of lower index stand at a rung that a trial has reached."""
        own = int(self._column(rung)[index])
        there, ended = self._there[rung][:index], self._final_from[:index] <= rung
        keys = np.where(there, self._keys[rung][:index], self._final_key[:index])
        counted = keys[there | (ended & self._final_counts[:index])]
        better, worse = int((counted < own).sum()), int((counted > own).sum())
        unknown = int((~there & ~ended).sum())
        return Rivals(better=better, equal=len(counted) - better - worse, worse=worse, unknown=unknown)

    def unknown(self, index: int, rung: int) -> tuple[int, ...]:
        """Return the trials of lower index that may reach a rung yet."""
        self._column(rung)
        open_ = ~self._there[rung][:index] & (self._final_from[:index] > rung)
        return tuple(int(other) for other in np.flatnonzero(open_))

    def _column(self, rung: int) -> Keys:
        if rung not in self._keys:
            self._keys[rung] = np.zeros(self._size, np.int64)
            self._there[rung] = np.zeros(self._size, np.bool_)
        return self._keys[rung]

    def _grow(self, index: int) -> None:
        if index < self._size:
            return
        more = max(self._size, index + 1 - self._size)
        self._size += more
        self._keys = {rung: np.pad(column, (0, more)) for rung, column in self._keys.items()}
        self._there = {rung: np.pad(column, (0, more)) for rung, column in self._there.items()}
        self._final_from = np.pad(self._final_from, (0, more), constant_values=_NEVER)
        self._final_counts = np.pad(self._final_counts, (0, more))
        self._final_key = np.pad(self._final_key, (0, more))
