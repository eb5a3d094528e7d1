"""What is decided about trials and about the sweep: plain values, the same for every order of the facts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from seedbed.search.search_space import Point


class State(StrEnum):
    """What became of a trial."""

    SUCCEEDED = "Succeeded"
    PRUNED = "Pruned"
    FAILED = "Failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A trial about which nothing is open."""

    index: int
    point: Point
    state: State
    rungs: tuple[tuple[int, int], ...] = ()
    """(epoch, objective in steps) of the rungs that it reached; a pruned trial ended at the last one."""
    folds: tuple[int, ...] = ()
    """Objective of each fold where the trial ended, in steps; empty for one that failed."""
    objective: int | None = None
    """Their mean, in steps: at the end of one that succeeded, at its last rung of one that was pruned."""
    deviation: int | None = None
    """Standard deviation over folds, in steps."""
    reason: str | None = None
    """Why it failed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialRuns:
    """The runs of a decided trial, one per fold; empty where its values make no recipe."""

    run_ids: tuple[str, ...] = ()
    weights: tuple[str, ...] = ()
    """Digests of the models; of trials that succeeded."""


class Verdict(StrEnum):
    """Whether a trial goes on beyond a rung."""

    PROMOTE = "Promote"
    PRUNE = "Prune"
    WAIT = "Wait"


@dataclass(frozen=True, kw_only=True, slots=True)
class Task:
    """A trial that may be trained now."""

    index: int
    point: Point
    until: int | None
    """Epoch of the rung at which it is judged next; None: to the end of its training."""


class Why(StrEnum):
    """Why a sweep ended."""

    ALL_TRIED = "AllTried"
    TARGET_REACHED = "TargetReached"
    FAILURE_LIMIT = "FailureLimitExceeded"
    UNDECIDED = "TrialUndecided"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """How a sweep ended: by which trial; those of higher index never happened."""

    why: Why
    index: int
    detail: str | None = None
    """Reason of the trial that could not be decided."""

    @property
    def complete(self) -> bool:
        """Tell whether the sweep has an answer."""
        return self.why in (Why.ALL_TRIED, Why.TARGET_REACHED)
