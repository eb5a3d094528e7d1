"""Suspend and resume a job: the driver writes a checkpoint and ends, then its workers; nothing is counted."""

from __future__ import annotations

from seedbed_api.conditions import ConditionType, RunningReason
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_cleanup import delete_pods
from seedbed_operator.planning.template_drift import was_edited_while_unobserved

SUSPENDING = "Suspending"
RESUMED = "Resumed"
_STOPPING_MESSAGE = "stopping: the driver writes a checkpoint at the end of the step"
_EDITED_MESSAGE = f"the job was suspended, changed and resumed while no operator ran; {_STOPPING_MESSAGE}"


def is_stopping(context: JobContext) -> bool:
    """Return whether the newest attempt must stop because the job is or was suspended."""
    return (
        context.spec.suspend or suspension_requested(context.status) or was_edited_while_unobserved(context)
    )


def suspension_requested(status: LifecycleStatus) -> bool:
    """Return whether a suspension had begun when the status was written."""
    return any(
        found.type == ConditionType.SUSPENDED and found.reason == SUSPENDING for found in status.conditions
    )


def stop_attempt(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Stop the running attempt, driver first."""
    builder = delete_pods(context, builder)
    text = (
        _EDITED_MESSAGE
        if was_edited_while_unobserved(context) and not context.spec.suspend
        else _STOPPING_MESSAGE
    )
    builder = builder.set_condition(ConditionType.SUSPENDED, "False", SUSPENDING, text)
    return builder.set_waiting(RunningReason.STOPPING, text)


def finish_suspension(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Wait until no pod is left, then set Suspended."""
    if context.remaining_pods():
        builder = delete_pods(context, builder)
        message = "waiting for the last pod to end"
        builder = builder.set_condition(ConditionType.SUSPENDED, "False", SUSPENDING, message)
        return builder.set_waiting(RunningReason.STOPPING, message)
    message = "spec.suspend is true; set it to false to resume from the newest checkpoint"
    builder = builder.set_condition(ConditionType.SUSPENDED, "True", RunningReason.SUSPENDED, message)
    builder = builder.set_status(retry_time=None, workers=None)
    builder = builder.set_condition(ConditionType.RUNNING, "False", RunningReason.SUSPENDED, message)
    return builder.set_settled(RunningReason.SUSPENDED)


def clear_suspension(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Clear the suspension: activeDeadlineSeconds starts again."""
    found = context.condition(ConditionType.SUSPENDED)
    if found is None or found.reason == RESUMED:
        return builder
    builder = builder.set_condition(ConditionType.SUSPENDED, "False", RESUMED)
    resumed_at = format_time(context.now) if context.status.start_time else None
    return builder.set_status(resume_time=resumed_at, attempt_progressed=None)
