"""End of a job: a pending terminal condition, then deletion of its pods, then Complete or Failed."""

from __future__ import annotations

from datetime import timedelta

from seedbed_api.conditions import Condition, ConditionType
from seedbed_api.timestamps import format_time, lasted, parse_time
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import DeleteJob, PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_cleanup import delete_pods
from seedbed_operator.planning.receipt_verification import is_verifying, plan_verification
from seedbed_operator.planning.sidecar_containers import describe_still_running
from seedbed_operator.planning.signature_storage import is_storing, plan_signature_storage

_FINAL = (ConditionType.COMPLETE, ConditionType.FAILED)


def is_finished(status: LifecycleStatus) -> bool:
    """Return whether the job is complete or has failed."""
    return any(found.type in _FINAL and found.status == "True" for found in status.conditions)


def terminal_condition(status: LifecycleStatus) -> Condition | None:
    """Return the terminal condition, pending or final."""
    return next((found for found in status.conditions if found.type in _FINAL), None)


def set_pending_terminal(builder: PlanBuilder, kind: ConditionType, reason: str, message: str) -> PlanBuilder:
    """Set Complete or Failed to False: the end is decided, and pods are still there."""
    builder = (
        builder.set_condition(kind, "False", reason, message).set_status(retry_time=None).requeue(builder.now)
    )
    return set_not_running(builder, kind, reason, message)


def set_not_running(builder: PlanBuilder, kind: str, reason: str, message: str) -> PlanBuilder:
    """Set Running to False; a failure shows at once, or `helm --wait` would see success."""
    if kind == ConditionType.FAILED:
        return builder.set_stalled(reason, message)
    return builder.set_condition(ConditionType.RUNNING, "False", reason, message).set_settled(reason)


def finish_job(context: JobContext, builder: PlanBuilder, verdict: Condition) -> PlanBuilder:
    """Delete the pods of a job whose end is decided; set the condition to True when none is left."""
    left = context.remaining_pods()
    if not left:
        return set_terminal(builder, verdict)
    builder = delete_pods(context, builder)
    held = describe_still_running(left)
    return (
        builder.set_condition(ConditionType.RUNNING, "False", verdict.reason, verdict.message + held)
        if held
        else builder
    )


def set_terminal(builder: PlanBuilder, verdict: Condition) -> PlanBuilder:
    """Set the terminal condition to True."""
    reason, message = verdict.reason, verdict.message
    start = parse_time(builder.status.start_time)
    builder = builder.set_condition(verdict.type, "True", reason, message).set_status(
        completion_time=format_time(builder.now), duration=lasted(start, builder.now) if start else None
    )
    return set_not_running(builder.requeue(builder.now), verdict.type, reason, message)


def fail_job(context: JobContext, builder: PlanBuilder, reason: str, message: str) -> PlanBuilder:
    """Fail the job; finally where it has no pods."""
    builder = set_pending_terminal(builder, ConditionType.FAILED, reason, message)
    verdict = terminal_condition(builder.status)
    assert verdict is not None
    return builder if context.remaining_pods() else set_terminal(builder, verdict)


def _has_work(builder: PlanBuilder) -> bool:
    return is_verifying(builder) or is_storing(builder)


def clean_up_finished_job(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Delete late pods of a finished job, and the job after ttlSecondsAfterFinished."""
    builder = plan_signature_storage(context, delete_pods(context, builder))
    builder = plan_verification(context, builder)
    limit = context.job.spec.ttl_seconds_after_finished if context.job.spec else None
    ended = parse_time(context.status.completion_time)
    if limit is None or ended is None or context.job.deleting or _has_work(builder):
        return builder
    due = ended + timedelta(seconds=limit)
    return builder.add_actions(DeleteJob(uid=context.job.uid)) if context.now >= due else builder.requeue(due)
