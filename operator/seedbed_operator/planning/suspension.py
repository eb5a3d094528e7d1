"""Suspend and resume: the driver checkpoints and ends, then its workers; nothing of it is counted."""

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
_STOPPING_MESSAGE = "told to stop: it checkpoints at the end of the step"
_EDITED_MESSAGE = (
    f"the job was suspended, changed and resumed while no operator was there to see it; {_STOPPING_MESSAGE}"
)


def is_stopping(context: JobContext) -> bool:
    """Tell whether the newest attempt is to end, or was told to, because the job is or was suspended."""
    return (
        context.spec.suspend or suspension_requested(context.status) or was_edited_while_unobserved(context)
    )


def suspension_requested(status: LifecycleStatus) -> bool:
    """Tell whether a suspension had begun when the status was written."""
    return any(
        found.type == ConditionType.SUSPENDED and found.reason == SUSPENDING for found in status.conditions
    )


def stop_attempt(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Stop the attempt under way, driver first."""
    builder = delete_pods(context, builder)
    told = (
        _EDITED_MESSAGE
        if was_edited_while_unobserved(context) and not context.spec.suspend
        else _STOPPING_MESSAGE
    )
    builder = builder.set_condition(ConditionType.SUSPENDED, "False", SUSPENDING, told)
    return builder.set_waiting(RunningReason.STOPPING, told)


def finish_suspension(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Wait for the last pod to be gone, then say so."""
    if context.remaining_pods():
        builder = delete_pods(context, builder)
        message = "waiting for the last pod to be gone"
        builder = builder.set_condition(ConditionType.SUSPENDED, "False", SUSPENDING, message)
        return builder.set_waiting(RunningReason.STOPPING, message)
    message = "spec.suspend is true; set it to false to go on from the newest checkpoint"
    builder = builder.set_condition(ConditionType.SUSPENDED, "True", RunningReason.SUSPENDED, message)
    builder = builder.set_status(retry_time=None, workers=None)
    builder = builder.set_condition(ConditionType.RUNNING, "False", RunningReason.SUSPENDED, message)
    return builder.set_settled(RunningReason.SUSPENDED)


def clear_suspension(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Note that a suspension is over: the clock of activeDeadlineSeconds starts again."""
    found = context.condition(ConditionType.SUSPENDED)
    if found is None or found.reason == RESUMED:
        return builder
    builder = builder.set_condition(ConditionType.SUSPENDED, "False", RESUMED)
    resumed_at = format_time(context.now) if context.status.start_time else None
    return builder.set_status(resume_time=resumed_at, attempt_progressed=None)
