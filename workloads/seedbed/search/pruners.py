"""Pruners: prefix ASHA and median stopping, and the table of objectives by rung that they judge by.

A trial is compared at a rung with trials of lower index alone. Each of those has reached the rung, or never
will, or is not known yet. The verdict comes as soon as no unknown trial can change it: timing decides when a
trial is judged, never how.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seedbed_api.sweepjob import SweepJobSpec


class Verdict(StrEnum):
    """Whether a trial continues beyond a rung."""

    PROMOTE = "Promote"
    PRUNE = "Prune"
    WAIT = "Wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class RungComparison:
    """Counts of the trials of lower index at a rung, compared with the trial that is judged."""

    better: int
    """Reached it with a better value."""
    equal: int
    """Reached it with the same value."""
    worse: int
    """Reached it with a worse value."""
    unknown: int
    """May still reach it."""

    @property
    def reached(self) -> int:
        """Number of trials that reached it."""
        return self.better + self.equal + self.worse


class Pruner(Protocol):
    """A rule that ends trials at rungs."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are judged, ascending, all below the horizon."""

    @property
    def counts_pruned(self) -> bool:
        """Whether a pruned trial counts at later rungs, with its last value."""

    def verdict(self, lower: RungComparison) -> Verdict:
        """Judge a trial at a rung."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NoPruner:
    """Trains every trial to its end."""

    rungs: tuple[int, ...] = ()
    counts_pruned: bool = False

    def verdict(self, lower: RungComparison) -> Verdict:  # noqa: ARG002
        """Promote."""
        return Verdict.PROMOTE


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixASHAPruner:
    """Prefix ASHA: a trial continues if among the best n // η of the n trials up to its index at a rung.

    The first η trials at a rung always continue. Trials that were pruned earlier or failed are not counted.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    counts_pruned: bool = False

    def verdict(self, lower: RungComparison) -> Verdict:
        """Judge a trial; equal trials of lower index rank before it.

        One more trial raises n // η by at most 1, and the rank by 1 if it is better. So the worst case is
        that all unknown trials are better, the best case that all are worse.
        """
        factor, rank = self.reduction_factor, lower.better + lower.equal
        least, most = lower.reached + 1, lower.reached + 1 + lower.unknown
        if most <= factor or rank + lower.unknown < most // factor:
            return Verdict.PROMOTE
        if least > factor and rank >= most // factor:
            return Verdict.PRUNE
        return Verdict.WAIT


@dataclass(frozen=True, kw_only=True, slots=True)
class MedianPruner:
    """Median stopping: a trial ends if more than half of the trials of lower index are strictly better.

    Pruned trials count with their last value: among the others alone the median would rise with every
    epoch until nearly every trial had ended. Trials that failed before do not count.
    """

    rungs: tuple[int, ...]
    min_trials: int
    counts_pruned: bool = True

    def verdict(self, lower: RungComparison) -> Verdict:
        """Judge a trial."""
        least, most = lower.reached, lower.reached + lower.unknown
        if most < self.min_trials or 2 * (lower.better + lower.unknown) <= most:
            return Verdict.PROMOTE
        if least >= self.min_trials and 2 * lower.better > most:
            return Verdict.PRUNE
        return Verdict.WAIT


def create_pruner(spec: SweepJobSpec) -> Pruner:
    """Return the pruner of a sweep whose spec `sweep_validation.search_errors` accepts."""
    rule, recipe = spec.early_stopping, spec.trial_template.spec
    if rule is None:
        return NoPruner()
    horizon, every = recipe.training.epochs, recipe.evaluation.every_epochs
    assert horizon is not None, "the API refuses it"
    assert every is not None, "the API refuses it"
    if rule.prefix_asha is not None:
        factor = rule.prefix_asha.reduction_factor
        rungs = takewhile(lambda rung: rung < horizon, geometric_rungs(rule.prefix_asha.min_epochs, factor))
        return PrefixASHAPruner(rungs=tuple(rungs), reduction_factor=factor)
    assert rule.median is not None
    first = -(-rule.median.min_epochs // every) * every
    return MedianPruner(rungs=tuple(range(first, horizon, every)), min_trials=rule.median.min_trials)


def geometric_rungs(first: int, factor: int) -> Iterator[int]:
    """Yield first, first · factor, first · factor², …"""
    while True:
        yield first
        first *= factor


_NEVER = np.iinfo(np.int32).max

Keys = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


class RungTable:
    """Objectives of all trials by rung (from 0) and index, as keys that are smaller for better values.

    Columns of numpy: a comparison with thousands of trials takes microseconds.
    """

    def __init__(self) -> None:
        self._size = 64
        self._keys: dict[int, Keys] = {}
        self._there: dict[int, Flags] = {}
        self._final_from = np.full(self._size, _NEVER, np.int32)
        self._final_counts = np.zeros(self._size, np.bool_)
        self._final_key = np.zeros(self._size, np.int64)

    def record_value(self, index: int, rung: int, key: int) -> None:
        """Store the key of a trial that has reached a rung."""
        self._grow(index)
        self._column(rung)[index] = key
        self._there[rung][index] = True

    def record_end(self, index: int, rung: int, key: int | None) -> None:
        """Store that a trial ended: from a rung on it counts with its last key, or with None not at all."""
        self._grow(index)
        self._final_from[index] = rung
        self._final_counts[index] = key is not None
        self._final_key[index] = key or 0

    def compare(self, index: int, rung: int) -> RungComparison:
        """Compare a trial with those of lower index at a rung that it has reached."""
        own = int(self._column(rung)[index])
        there, ended = self._there[rung][:index], self._final_from[:index] <= rung
        keys = np.where(there, self._keys[rung][:index], self._final_key[:index])
        counted = keys[there | (ended & self._final_counts[:index])]
        better, worse = int((counted < own).sum()), int((counted > own).sum())
        unknown = int((~there & ~ended).sum())
        return RungComparison(
            better=better, equal=len(counted) - better - worse, worse=worse, unknown=unknown
        )

    def undecided(self, index: int, rung: int) -> tuple[int, ...]:
        """Return the trials of lower index that may still reach a rung."""
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
