"""Early stopping of trials: at a rung, a trial is judged against trials of lower index and no others.

A rival of lower index has reached the rung, or never will, or is not known yet. A verdict is given as soon as
nothing that the unknown ones may do can change it, which is all that timing decides: when, never what.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

import numpy as np
import numpy.typing as npt

from seedbed.search.trial_decisions import Verdict
from seedbed_api.sweepjob import SweepJobSpec


@dataclass(frozen=True, kw_only=True, slots=True)
class Rivals:
    """How the trials of lower index stand at a rung, seen from the one that is judged."""

    better: int
    """Reached it with a better value."""
    equal: int
    """Reached it with the same value."""
    worse: int
    """Reached it with a worse value."""
    unknown: int
    """May reach it yet."""

    @property
    def reached(self) -> int:
        """How many reached it."""
        return self.better + self.equal + self.worse


class Stopper(Protocol):
    """A rule of early stopping."""

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs after which trials are judged, ascending, all below the horizon."""

    @property
    def keeps_pruned(self) -> bool:
        """Whether a trial that was ended counts at later rungs, with its last value."""

    def verdict(self, rivals: Rivals) -> Verdict:
        """Judge a trial at a rung."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Never:
    """Every trial is trained to its end."""

    rungs: tuple[int, ...] = ()
    keeps_pruned: bool = False

    def verdict(self, rivals: Rivals) -> Verdict:  # noqa: ARG002
        """Promote."""
        return Verdict.PROMOTE


@dataclass(frozen=True, kw_only=True, slots=True)
class PrefixHalving:
    """Prefix ASHA: a trial goes on while among the best n // η of the n trials up to itself at a rung.

    The first η that reach a rung always go on. Who ended at an earlier rung, or failed, is none of the n.
    """

    rungs: tuple[int, ...]
    reduction_factor: int
    keeps_pruned: bool = False

    def verdict(self, rivals: Rivals) -> Verdict:
        """Judge a trial; its equals of lower index go before it.

        One more rival raises n // η by at most 1, and the rank by 1 if it is better: all unknown ones
        better is the worst that can happen, all worse the best.
        """
        factor, rank = self.reduction_factor, rivals.better + rivals.equal
        least, most = rivals.reached + 1, rivals.reached + 1 + rivals.unknown
        if most <= factor or rank + rivals.unknown < most // factor:
            return Verdict.PROMOTE
        if least > factor and rank >= most // factor:
            return Verdict.PRUNE
        return Verdict.WAIT


@dataclass(frozen=True, kw_only=True, slots=True)
class Median:
    """A trial ends when more than half of the trials of lower index are strictly better at an epoch.

    Those that were ended earlier count with their last value: among survivors alone the median would rise
    with every epoch until nearly every trial had ended. Trials that failed before do not count.
    """

    rungs: tuple[int, ...]
    min_trials: int
    keeps_pruned: bool = True

    def verdict(self, rivals: Rivals) -> Verdict:
        """Judge a trial."""
        least, most = rivals.reached, rivals.reached + rivals.unknown
        if most < self.min_trials or 2 * (rivals.better + rivals.unknown) <= most:
            return Verdict.PROMOTE
        if least >= self.min_trials and 2 * rivals.better > most:
            return Verdict.PRUNE
        return Verdict.WAIT


def stopper(spec: SweepJobSpec) -> Stopper:
    """Return the rule of a sweep; `checking.impossible_search` says what does not fit."""
    rule, recipe = spec.early_stopping, spec.trial_template.spec
    if rule is None:
        return Never()
    horizon, every = recipe.training.epochs, recipe.evaluation.every_epochs
    assert horizon is not None, "the API refuses it"
    assert every is not None, "the API refuses it"
    if rule.prefix_asha is not None:
        factor = rule.prefix_asha.reduction_factor
        rungs = takewhile(lambda rung: rung < horizon, powers(rule.prefix_asha.min_epochs, factor))
        return PrefixHalving(rungs=tuple(rungs), reduction_factor=factor)
    assert rule.median is not None
    first = -(-rule.median.min_epochs // every) * every
    return Median(rungs=tuple(range(first, horizon, every)), min_trials=rule.median.min_trials)


def powers(first: int, factor: int) -> Iterator[int]:
    """Yield first, first · factor, first · factor², …"""
    while True:
        yield first
        first *= factor


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
