"""Status while the operator fails to reconcile a job, and its reset afterwards.

A training job stays Running: its driver needs no operator.
"""

from __future__ import annotations

from seedbed_api.conditions import Condition, ConditionType, RunningReason
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.failure_accounting import backoff_reason
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.terminal_state import set_not_running, terminal_condition

FAILED_WRITE_PREFIX = "the API server did not complete"
"""Prefix of messages about writes that fail repeatedly."""
_EARLIER_PREFIX = "the API server does not carry out"
"""Prefix of an earlier release, in statuses that are still to be reset."""


def set_failed_write(builder: PlanBuilder, message: str) -> PlanBuilder:
    """Report which write fails, and leave the rest of the status."""
    if builder.has_condition(ConditionType.RUNNING):
        return builder.set_condition(ConditionType.RUNNING, "True", RunningReason.TRAINING, message)
    return builder.set_waiting(RunningReason.ADMISSION_DENIED, message)


def set_internal_error(builder: PlanBuilder, message: str) -> PlanBuilder:
    """Report that the operator fails, and leave the rest of the status."""
    if builder.has_condition(ConditionType.RUNNING):
        return builder.set_condition(ConditionType.RUNNING, "True", RunningReason.INTERNAL_ERROR, message)
    return builder.set_waiting(RunningReason.INTERNAL_ERROR, message)


def clear_internal_error(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Remove the report of a failure; later policies may not set a condition."""
    found = context.condition(ConditionType.RUNNING)
    if found is None or not _is_error_condition(found):
        return builder
    if found.status == "True":
        return builder.set_running(RunningReason.TRAINING, "")
    if verdict := terminal_condition(context.status):
        return set_not_running(builder, verdict.type, verdict.reason, verdict.message)
    if context.status.retry_time is not None:
        return _restore_backoff(context, builder)
    return builder.set_waiting(RunningReason.PENDING, "reconciled again after a failure")


def _is_error_condition(found: Condition) -> bool:
    return found.reason == RunningReason.INTERNAL_ERROR or found.message.startswith(
        (FAILED_WRITE_PREFIX, _EARLIER_PREFIX)
    )


def _restore_backoff(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    failure = context.status.last_failure
    known = failure is not None and failure.attempt == context.accounted_attempts
    reason = backoff_reason(failure.reason) if failure and known else RunningReason.BACKING_OFF
    why = f"attempt {failure.attempt} ended: {failure.reason}; " if failure and known else ""
    return builder.set_waiting(reason, f"{why}the next attempt starts at {context.status.retry_time}")
