"""What is known of a run so far: of one fold, or of a trial as the mean of its folds.

Facts only grow, and may run ahead of the decisions: a memo knows the end of a run that this sweep would have
ended early. Epochs count from 1: epoch e is the milestone at which e epochs are consumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from seedbed.search.objective_values import mean


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """The training came to its end, by its length or by its own early stopping."""

    value: int
    """Objective of the model that came out, in steps."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failed:
    """The training fails whenever it is tried: exception, non-finite loss, impossible recipe."""

    reason: str
    """CamelCase; never a text that could differ between two tries."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Undecided:
    """Hung, out of memory or lost more often than it is retried: this says nothing about the trial."""

    reason: str


End: TypeAlias = Finished | Failed | Undecided


@dataclass(frozen=True, kw_only=True, slots=True)
class Course:
    """What is known of a run."""

    values: tuple[tuple[int, int], ...] = ()
    """(epoch, objective in steps) of its evaluations, ascending by epoch."""
    end: End | None = None
    """None while it may go on."""

    def at(self, epoch: int) -> int | None:
        """Return the objective at an epoch; that of a finished run stays, None where it is not known."""
        known = next((value for place, value in self.values if place == epoch), None)
        if known is None and isinstance(self.end, Finished):
            return self.end.value
        return known

    def has_come(self, until: int | None) -> bool:
        """Tell whether nothing is left to be trained up to an epoch; None: up to the end."""
        return self.end is not None or (until is not None and self.at(until) is not None)


def merged(folds: Sequence[Course], rungs: Sequence[int]) -> Course:
    """Return the course of a trial at some rungs from those of its folds; a single fold is its own mean.

    A trial reaches a rung when all folds have; a fold that has finished counts with its end. Of the folds
    that do not reach a rung the lowest tells the reason: it is known when those below have come so far.
    """
    values: list[tuple[int, int]] = []
    for rung in rungs:
        if all(_finished_before(fold, rung) for fold in folds):
            break
        reached = [value for value in (fold.at(rung) for fold in folds) if value is not None]
        if len(reached) < len(folds):
            lowest = next(fold for fold in folds if fold.at(rung) is None)
            return Course(values=tuple(values), end=lowest.end)
        values.append((rung, mean(reached)))
    return Course(values=tuple(values), end=_end(folds))


def _finished_before(fold: Course, rung: int) -> bool:
    return isinstance(fold.end, Finished) and all(epoch < rung for epoch, _ in fold.values)


def _end(folds: Sequence[Course]) -> End | None:
    finished = [fold.end for fold in folds if isinstance(fold.end, Finished)]
    if len(finished) < len(folds):
        return next(fold.end for fold in folds if not isinstance(fold.end, Finished))
    return Finished(value=mean([end.value for end in finished]))
