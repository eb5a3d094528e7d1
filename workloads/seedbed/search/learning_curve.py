"""Learning curves: the objective of a run by epoch and how the run ended; of a trial the mean over its folds.

A curve only grows. It may be longer than this sweep asked for: a finished run of another sweep is reused.
Epochs count from 1: epoch e is the milestone after which e epochs are consumed. Objectives are integers, see
`objective_values`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seedbed.search.objective_values import mean_objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The training ended: at its last epoch or by its own early stopping."""

    value: int
    """Objective of the selected model."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The training fails at every try: exception in user code, non-finite loss, impossible recipe."""

    reason: str
    """CamelCase; never a text that could differ between two tries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """Hung, out of memory or lost, and out of retries: no statement about the trial itself."""

    reason: str


RunEnd: TypeAlias = Finished | Failed | Undecided


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningCurve:
    """Objective by epoch, and the end of the run if it has ended."""

    values: tuple[tuple[int, int], ...] = ()
    """(epoch, objective) of its evaluations, ascending by epoch."""
    end: RunEnd | None = None
    """None while the run may continue."""

    def objective_at(self, epoch: int) -> int | None:
        """Return the objective after an epoch: the final one past the end, None where it is unknown."""
        known = next((value for place, value in self.values if place == epoch), None)
        if known is None and isinstance(self.end, Finished):
            return self.end.value
        return known

    def has_reached(self, until: int | None) -> bool:
        """Say whether nothing is left to train up to an epoch; None: up to the end."""
        return self.end is not None or (until is not None and self.objective_at(until) is not None)


def mean_curve(folds: Sequence[LearningCurve], rungs: Sequence[int]) -> LearningCurve:
    """Return the curve of a trial at its rungs: the mean over the curves of its folds.

    A trial reaches a rung when all folds have; a finished fold counts with its final objective. If folds
    failed before a rung, the lowest of them gives the end: it does not depend on which failed first.
    """
    values: list[tuple[int, int]] = []
    for rung in rungs:
        if all(_finished_before(fold, rung) for fold in folds):
            break
        reached = [value for value in (fold.objective_at(rung) for fold in folds) if value is not None]
        if len(reached) < len(folds):
            lowest = next(fold for fold in folds if fold.objective_at(rung) is None)
            return LearningCurve(values=tuple(values), end=lowest.end)
        values.append((rung, mean_objective(reached)))
    return LearningCurve(values=tuple(values), end=_end(folds))


def _finished_before(fold: LearningCurve, rung: int) -> bool:
    return isinstance(fold.end, Finished) and all(epoch < rung for epoch, _ in fold.values)


def _end(folds: Sequence[LearningCurve]) -> RunEnd | None:
    finished = [fold.end for fold in folds if isinstance(fold.end, Finished)]
    if len(finished) < len(folds):
        return next(fold.end for fold in folds if not isinstance(fold.end, Finished))
    return Finished(value=mean_objective([end.value for end in finished]))
