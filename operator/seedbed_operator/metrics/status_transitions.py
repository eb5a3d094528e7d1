"""Countable transitions between two statuses of a job, with a bounded set of reasons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from seedbed_api.conditions import AttemptReason, ConditionType, FailedReason, RunningReason
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import LifecycleStatus, TrainingJobStatus

CauseLabel = Literal["Done", "User", "Failure", "Infrastructure", "Preemption", "Stopped", "GivenBack"]

_COUNTERS: Final[tuple[tuple[str, CauseLabel], ...]] = (
    ("preemptions", "Preemption"),
    ("infrastructure_failures", "Infrastructure"),
    ("failures", "Failure"),
)
_OPERATOR_REASONS: Final = frozenset({"Stopped", "OutcomeMissing", "ContainerStartFailed", "PodFailed"})
_REASONS: Final = _OPERATOR_REASONS.union(
    *(map(str, kind) for kind in (AttemptReason, FailedReason, RunningReason))
)
"""Drivers may report any reason; only these are used as labels."""
OTHER: Final = "Other"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptEnded:
    """An attempt has ended."""

    cause: CauseLabel
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class StageReached:
    """A job reached a stage for the first time since it was created or last resumed."""

    stage: Literal["Running", "FirstStep"]
    seconds: float
    """Since then; attempts that never trained are part of the wait."""


Transition = AttemptEnded | StageReached


def transitions(
    created: datetime, before: LifecycleStatus, after: LifecycleStatus, now: datetime
) -> Iterator[Transition]:
    """Yield the transitions between two successive statuses."""
    if (after.accounted_attempts or 0) > (before.accounted_attempts or 0):
        yield _ended(before, after)
    waited = max((now - _since(created, after)).total_seconds(), 0.0)
    if _has_run(after) and not _has_run(before):
        yield StageReached(stage="Running", seconds=waited)
    if _has_stepped(after) and not _has_stepped(before):
        yield StageReached(stage="FirstStep", seconds=waited)


def known_reason(reason: str) -> str:
    """Return a reason if it is known, else Other."""
    return reason if reason in _REASONS else OTHER


def _ended(before: LifecycleStatus, after: LifecycleStatus) -> AttemptEnded:
    failure = after.last_failure
    if failure is None or failure.attempt != after.accounted_attempts:
        return _ended_without_failure(after)
    counted = (
        cause for name, cause in _COUNTERS if (getattr(after, name) or 0) > (getattr(before, name) or 0)
    )
    return AttemptEnded(cause=next(counted, "User"), reason=known_reason(failure.reason))


def _ended_without_failure(after: LifecycleStatus) -> AttemptEnded:
    """Return the end of an attempt that completed, gave back its pods, or was stopped."""
    done, running = after.condition(ConditionType.COMPLETE), after.condition(ConditionType.RUNNING)
    if done is not None:
        return AttemptEnded(cause="Done", reason=done.reason)
    if after.retry_time is not None and running is not None:
        return AttemptEnded(cause="GivenBack", reason=known_reason(running.reason))
    return AttemptEnded(cause="Stopped", reason="Stopped")


def _has_run(status: LifecycleStatus) -> bool:
    """Return whether a job runs or has run since it was created or last resumed."""
    running, began = status.condition(ConditionType.RUNNING), parse_time(status.resume_time)
    if running is None or running.status == "True":
        return running is not None
    turned = parse_time(running.last_transition_time)
    return began is not None and turned is not None and turned > began


def _has_stepped(status: LifecycleStatus) -> bool:
    """Return whether a job has made a step since then; a SweepJob: has stored a result."""
    if isinstance(status, TrainingJobStatus):
        return _has_run(status) and status.progress is not None and status.progress.step > 0
    return status.attempt_progressed is not None


def _since(created: datetime, status: LifecycleStatus) -> datetime:
    """Return the start of the wait: creation, or the last resume."""
    suspended = status.condition(ConditionType.SUSPENDED)
    resumed = parse_time(suspended.last_transition_time) if suspended is not None else None
    return created if resumed is None else max(created, resumed)
