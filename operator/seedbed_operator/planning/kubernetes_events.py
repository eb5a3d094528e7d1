"""Kubernetes Events for changes of status: a job trains, ends, is suspended or is blocked."""

from __future__ import annotations

from collections.abc import Iterator

from seedbed_api.conditions import Condition, ConditionType, RunningReason
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import JobEvent

_QUIET = frozenset(
    {
        RunningReason.PENDING,
        RunningReason.CONTAINER_CREATING,
        RunningReason.RAY_STARTING,
        RunningReason.WAITING_FOR_WORKERS,
        RunningReason.WORKERS_PENDING,
        RunningReason.STOPPING,
        RunningReason.SUSPENDED,
    }
)
"""Reasons that every job passes through; they are in the status only."""
_NORMAL = frozenset({RunningReason.QUEUED, RunningReason.TERMINATING_OLD_PODS})
_ACTIVE = "Training"
_ENDS = (
    (ConditionType.COMPLETE, "Normal", "Complete"),
    (ConditionType.FAILED, "Warning", "Fail"),
    (ConditionType.SUSPENDED, "Normal", "Suspend"),
)


def events_between(before: LifecycleStatus, after: LifecycleStatus) -> tuple[JobEvent, ...]:
    """Return the Events for a change of status."""
    ends = tuple(_end_events(before, after))
    return (ends or tuple(_running_events(before, after))) + tuple(_signature_events(before, after))


def _end_events(before: LifecycleStatus, after: LifecycleStatus) -> Iterator[JobEvent]:
    for kind, severity, action in _ENDS:
        new = after.condition(kind)
        if new is not None and new.status == "True" and not before.holds(kind):
            yield JobEvent(
                type="Normal" if severity == "Normal" else "Warning",
                reason=new.reason,
                message=new.message or new.reason,
                action=action,
            )


def _signature_events(before: LifecycleStatus, after: LifecycleStatus) -> Iterator[JobEvent]:
    old, new = (each.condition(ConditionType.SIGNATURE_STORED) for each in (before, after))
    if new is not None and new.status == "False" and (old is None or old.status != "False"):
        yield JobEvent(
            type="Warning", reason="SignatureNotStored", message=new.message or new.reason, action="Sign"
        )


def _running_events(before: LifecycleStatus, after: LifecycleStatus) -> Iterator[JobEvent]:
    old, new = before.condition(ConditionType.RUNNING), after.condition(ConditionType.RUNNING)
    if (
        new is None
        or _running_state(old) == _running_state(new)
        or new.reason in _QUIET
        or _has_terminal_condition(after)
    ):
        return
    if _running_state(new) == _ACTIVE:
        attempt = f"attempt {after.attempts} trains"
        yield JobEvent(type="Normal", reason=_ACTIVE, message=attempt, action="Run")
    else:
        severity = "Normal" if new.reason in _NORMAL else "Warning"
        yield JobEvent(
            type="Normal" if severity == "Normal" else "Warning",
            reason=new.reason,
            message=new.message or new.reason,
            action="Wait",
        )


def _running_state(running: Condition | None) -> str | None:
    if running is None:
        return None
    trains = running.status == "True" and running.reason != RunningReason.INTERNAL_ERROR
    return _ACTIVE if trains else running.reason


def _has_terminal_condition(status: LifecycleStatus) -> bool:
    return any(found.type in (ConditionType.COMPLETE, ConditionType.FAILED) for found in status.conditions)
