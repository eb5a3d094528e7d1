"""Decided trials, trials to run and the end of a sweep: values that do not depend on the order of results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from seedbed.search.search_space import Assignments


class TrialState(StrEnum):
    """Final state of a trial."""

    SUCCEEDED = "Succeeded"
    PRUNED = "Pruned"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidedTrial:
    """A trial that has its final state."""

    index: int
    assignments: Assignments
    state: TrialState
    rungs: tuple[tuple[int, int], ...] = ()
    """(epoch, objective) of the rungs that it reached; a pruned trial ended at the last one."""
    folds: tuple[int, ...] = ()
    """Objective of each fold where the trial ended; empty for a failed trial."""
    objective: int | None = None
    """Mean of `folds`, as `objective_values` counts it; None for a failed trial."""
    deviation: int | None = None
    """Standard deviation over folds; None without cross-validation."""
    reason: str | None = None
    """Why it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRuns:
    """The runs of a decided trial, one per fold; empty where its values make no recipe."""

    run_ids: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    """Digests of the models; of trials that succeeded."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialTask:
    """A trial that may be trained now."""

    index: int
    assignments: Assignments
    until_epoch: int | None
    """Epoch of its next rung; None: train to the end."""


class EndReason(StrEnum):
    """Why a sweep ended."""

    ALL_TRIED = "AllTried"
    TARGET_REACHED = "TargetReached"
    FAILURE_LIMIT = "FailureLimitExceeded"
    UNDECIDED = "TrialUndecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepEnd:
    """Why a sweep ended, and at which trial; trials of higher index are no part of it."""

    reason: EndReason
    index: int
    detail: str | None = None
    """Reason of the trial that could not be decided."""

    @property
    def complete(self) -> bool:
        """Say whether the search is complete."""
        return self.reason in (EndReason.ALL_TRIED, EndReason.TARGET_REACHED)
