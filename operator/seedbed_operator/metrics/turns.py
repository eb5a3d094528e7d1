"""What happened to a job between two statuses, as far as it is counted: pure, and in bounded words."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from seedbed_api.conditions import AttemptReason, ConditionType, FailedReason
from seedbed_api.status import LifecycleStatus, TrainingJobStatus

Cause = Literal["Done", "User", "Failure", "Infrastructure", "Preemption", "Stopped"]

_COUNTERS: Final[tuple[tuple[str, Cause], ...]] = (
    ("preemptions", "Preemption"),
    ("infrastructure_failures", "Infrastructure"),
    ("failures", "Failure"),
)
_OWN: Final = frozenset({"Stopped", "OutcomeMissing", "ContainerStartFailed", "PodFailed"})
_REASONS: Final = _OWN | set(map(str, AttemptReason)) | set(map(str, FailedReason))
"""Drivers may say any word, user code among them: what is counted is one of these."""
OTHER: Final = "Other"


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptEnded:
    """An attempt has ended."""

    cause: Cause
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Reached:
    """A job has come to a station of its way for the first time."""

    station: Literal["Running", "FirstStep"]
    seconds: float
    """Since it was created, or last resumed."""


Turn = AttemptEnded | Reached


def turns(
    created: datetime, before: LifecycleStatus, after: LifecycleStatus, now: datetime
) -> Iterator[Turn]:
    """Yield what is worth counting between two statuses that follow each other."""
    if (after.accounted_attempts or 0) > (before.accounted_attempts or 0):
        yield _ended(before, after)
    if _step(before) or (after.attempts or 0) > 1:
        return
    waited = max((now - _since(created, after)).total_seconds(), 0.0)
    if _runs(after) and not _runs(before):
        yield Reached(station="Running", seconds=waited)
    if _step(after):
        yield Reached(station="FirstStep", seconds=waited)


def _ended(before: LifecycleStatus, after: LifecycleStatus) -> AttemptEnded:
    failure = after.last_failure
    if failure is None or failure.attempt != after.accounted_attempts:
        done = after.condition(ConditionType.COMPLETE)
        return AttemptEnded(cause="Done" if done else "Stopped", reason=done.reason if done else "Stopped")
    counted = (
        cause for name, cause in _COUNTERS if (getattr(after, name) or 0) > (getattr(before, name) or 0)
    )
    reason = failure.reason if failure.reason in _REASONS else OTHER
    return AttemptEnded(cause=next(counted, "User"), reason=reason)


def _runs(status: LifecycleStatus) -> bool:
    return status.holds(ConditionType.RUNNING)


def _step(status: LifecycleStatus) -> int:
    """Return how far a job is: in steps, or where it has none of its own, once it has kept something."""
    if isinstance(status, TrainingJobStatus):
        return status.progress.step if status.progress else 0
    return int(status.kept_time is not None)


def _since(created: datetime, status: LifecycleStatus) -> datetime:
    """Return when the wait began: a job that was resumed had not waited before."""
    suspended = status.condition(ConditionType.SUSPENDED)
    if suspended is None:
        return created
    return max(created, datetime.fromisoformat(suspended.last_transition_time))
