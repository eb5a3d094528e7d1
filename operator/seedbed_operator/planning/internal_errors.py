"""What a status says while the operator itself fails at a job, and what it says when that is over.

A job that trains still counts as running: its driver needs no operator, and deadlines follow from that.
"""

from __future__ import annotations

from seedbed_api.conditions import Condition, ConditionType, RunningReason
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.failure_accounting import backoff_reason
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.terminal_state import set_not_running, terminal_condition

FAILED_WRITE_PREFIX = "the API server does not carry out"
"""How a message begins that tells of writes which come to nothing again and again."""


def set_failed_write(builder: PlanBuilder, message: str) -> PlanBuilder:
    """Say which write comes to nothing, and leave all else as it was last known."""
    if builder.has_condition(ConditionType.RUNNING):
        return builder.set_condition(ConditionType.RUNNING, "True", RunningReason.TRAINING, message)
    return builder.set_waiting(RunningReason.ADMISSION_DENIED, message)


def set_internal_error(builder: PlanBuilder, message: str) -> PlanBuilder:
    """Say that the operator fails, and leave all else as it was last known."""
    if builder.has_condition(ConditionType.RUNNING):
        return builder.set_condition(ConditionType.RUNNING, "True", RunningReason.INTERNAL_ERROR, message)
    return builder.set_waiting(RunningReason.INTERNAL_ERROR, message)


def clear_internal_error(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Take back that operator or API server failed: what is decided after this may have nothing to say."""
    found = context.condition(ConditionType.RUNNING)
    if found is None or not _is_error_condition(found):
        return builder
    if found.status == "True":
        return builder.set_running(RunningReason.TRAINING, "")
    if verdict := terminal_condition(context.status):
        return set_not_running(builder, verdict.type, verdict.reason, verdict.message)
    if context.status.retry_time is not None:
        return _restore_backoff(context, builder)
    return builder.set_waiting(RunningReason.PENDING, "planned again after a failure")


def _is_error_condition(found: Condition) -> bool:
    return found.reason == RunningReason.INTERNAL_ERROR or found.message.startswith(FAILED_WRITE_PREFIX)


def _restore_backoff(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    failure = context.status.last_failure
    known = failure is not None and failure.attempt == context.accounted_attempts
    reason = backoff_reason(failure.reason) if failure and known else RunningReason.BACKING_OFF
    why = f"attempt {failure.attempt} ended: {failure.reason}; " if failure and known else ""
    return builder.set_waiting(reason, f"{why}the next attempt begins at {context.status.retry_time}")
