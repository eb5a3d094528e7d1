"""Account the outcome of an attempt in the status: counters, last failure, back-off, end of the job.

This is written before pods of the attempt are deleted, since it reads them.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason, one_line
from seedbed_api.json_log_lines import format_log_line
from seedbed_api.pod_contract.paths import pod_log_path
from seedbed_api.timestamps import format_time, rounded_up
from seedbed_api.trainingjob_status import LONGEST_LOG_TAIL, Failure, LifecycleStatus, WorkerCounts
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause, camel_reason
from seedbed_operator.planning.driver_progress import clear_estimate, record_outcome
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.receipt_signing import signing_request
from seedbed_operator.planning.restart_backoff import backoff, backoff_after_preemption
from seedbed_operator.planning.sidecar_containers import pod_exit_code
from seedbed_operator.planning.terminal_state import set_pending_terminal

MAX_WITHOUT_CHECKPOINT = 20
"""Attempts in a row without a new checkpoint after which a job fails, whatever its backoffLimit."""
_COUNT_AS_FAILURE_FROM = 3
_MAX_URI = 1024
_COUNTERS = {
    OutcomeCause.FAILURE: "failures",
    OutcomeCause.INFRASTRUCTURE: "infrastructure_failures",
    OutcomeCause.PREEMPTION: "preemptions",
}
_BACKOFF_REASONS = frozenset(
    {
        RunningReason.PREEMPTED,
        RunningReason.NODE_LOST,
        RunningReason.DRIVER_LOST,
        RunningReason.RAY_UNHEALTHY,
        RunningReason.PRE_RUNNING_DEADLINE_EXCEEDED,
        RunningReason.PROGRESS_DEADLINE_EXCEEDED,
    }
)
"""Reasons that `kubectl get` shows while the job backs off; others are in the message."""
_UNCOUNTED = frozenset({OutcomeCause.DONE, OutcomeCause.USER, OutcomeCause.STOPPED, OutcomeCause.GIVEN_BACK})


def account_attempt(context: JobContext, builder: PlanBuilder, end: AttemptOutcome) -> PlanBuilder:
    """Account the newest attempt; only the status changes."""
    builder = clear_estimate(record_outcome(builder, end.outcome, since=_process_start(context)))
    builder = builder.set_status(
        accounted_attempts=context.attempt,
        attempts=context.attempt,
        workers=_no_ready_workers(builder.status.workers),
        log_uri=_log_uri(context, end) or builder.status.log_uri,
    ).requeue(context.now)
    if end.cause is OutcomeCause.DONE:
        builder = builder.request_signature(signing_request(context, builder, end.outcome))
        return set_pending_terminal(builder, ConditionType.COMPLETE, end.reason, "the run is complete")
    builder = _with_last_failure(context, builder, end)
    if end.cause is OutcomeCause.USER:
        return set_pending_terminal(
            builder, ConditionType.FAILED, camel_reason(end.reason, "DriverCrashed"), end.message
        )
    builder = _count_outcome(builder, end)
    if _exceeds_limits(context, builder.status):
        message = _limit_message(context, builder.status, end)
        starved = end.reason == FailedReason.OUT_OF_MEMORY
        reason = FailedReason.OUT_OF_MEMORY if starved else FailedReason.BACKOFF_LIMIT_EXCEEDED
        return set_pending_terminal(builder, ConditionType.FAILED, reason, message)
    return _back_off(context, builder, end)


def _process_start(context: JobContext) -> datetime | None:
    """Return when the driver's process started, by the clock of its node."""
    return context.driver.started if context.driver else None


def _no_ready_workers(workers: WorkerCounts | None) -> WorkerCounts | None:
    return WorkerCounts(ready=0, desired=workers.desired) if workers else None


def _with_last_failure(context: JobContext, builder: PlanBuilder, end: AttemptOutcome) -> PlanBuilder:
    if end.cause in (OutcomeCause.STOPPED, OutcomeCause.GIVEN_BACK):
        return builder
    pod = end.pod
    failure = Failure(
        attempt=context.attempt,
        reason=camel_reason(end.reason, "DriverCrashed"),
        message=one_line(end.message),
        time=format_time(context.now),
        pod=pod.name if pod else None,
        node=pod.node if pod else None,
        exit_code=pod_exit_code(pod) if pod else None,
        log_tail=_log_tail(context, end),
        log_uri=_log_uri(context, end),
    )
    return builder.set_status(last_failure=failure)


def _log_tail(context: JobContext, end: AttemptOutcome) -> str | None:
    if end.pod is None:
        return None
    text = context.evidence.log_tails.get(end.pod.uid) or ""
    if not text and end.pod.terminated and end.outcome is None:
        text = end.pod.terminated.message
    text = "\n".join(format_log_line(line) for line in text.splitlines())
    tail = text.encode(errors="replace")[-LONGEST_LOG_TAIL:].decode(errors="ignore").replace("\0", "")
    return tail or None


def _log_uri(context: JobContext, end: AttemptOutcome) -> str | None:
    if end.pod is None or end.pod.started is None:
        return None
    base = context.spec.output.uri.rstrip("/")
    uri = f"{base}/{pod_log_path(context.job.uid, context.attempt, end.pod.name)}/"
    return uri if len(uri) <= _MAX_URI else None


def _count_outcome(builder: PlanBuilder, end: AttemptOutcome) -> PlanBuilder:
    """Count an outcome; an unavoidable one does not count as an attempt without progress."""
    if end.cause in _UNCOUNTED:
        return builder
    status, spared = builder.status, _is_uncounted_failure(end)
    before = status.attempts_without_checkpoint or 0
    fruitless = 0 if status.attempt_progressed else before + (not spared)
    again = fruitless >= _COUNT_AS_FAILURE_FROM and not spared
    counted = {_COUNTERS[end.cause]} | ({"failures"} if again else set())
    counts = {name: (getattr(status, name) or 0) + 1 for name in counted}
    return builder.set_status(attempts_without_checkpoint=fruitless, **counts)


def _is_uncounted_failure(end: AttemptOutcome) -> bool:
    return end.cause is OutcomeCause.PREEMPTION or end.unavoidable


def _exceeds_limits(context: JobContext, status: LifecycleStatus) -> bool:
    fruitless = (status.attempts_without_checkpoint or 0) >= MAX_WITHOUT_CHECKPOINT
    return fruitless or (status.failures or 0) > context.spec.backoff_limit


def _limit_message(context: JobContext, status: LifecycleStatus, end: AttemptOutcome) -> str:
    count = status.failures or 0
    if count > context.spec.backoff_limit:
        text = f"{count} failed attempts exceed spec.backoffLimit {context.spec.backoff_limit}"
    else:
        text = f"{MAX_WITHOUT_CHECKPOINT} attempts in a row wrote no new checkpoint"
    return f"{text}; last attempt {context.attempt}: {end.reason}: {end.message}"


def _back_off(context: JobContext, builder: PlanBuilder, end: AttemptOutcome) -> PlanBuilder:
    if end.cause is OutcomeCause.STOPPED:
        return builder.set_status(retry_time=None).set_waiting(RunningReason.STOPPING, end.message)
    retry = rounded_up(context.now + _pause(context, builder.status, end))
    builder = builder.set_status(retry_time=format_time(retry)).requeue(retry)
    next_one = f"the next attempt starts at {format_time(retry)}"
    if end.cause is OutcomeCause.GIVEN_BACK:
        return builder.set_waiting(end.reason, f"{end.message}; its pods are deleted, {next_one}")
    reason = backoff_reason(end.reason)
    return builder.set_waiting(
        reason, f"attempt {context.attempt} ended: {end.reason}: {end.message}; {next_one}"
    )


def backoff_reason(reason: str) -> RunningReason:
    """Return the reason of Running while the job backs off."""
    return RunningReason(reason) if reason in _BACKOFF_REASONS else RunningReason.BACKING_OFF


def _pause(context: JobContext, status: LifecycleStatus, end: AttemptOutcome) -> timedelta:
    """Return the back-off, which grows while attempts make no progress, whatever the cause."""
    uid, attempt = context.job.uid, context.attempt
    if end.cause is OutcomeCause.PREEMPTION:
        in_a_row = 0 if status.attempt_progressed else (status.preemptions or 0)
        return backoff_after_preemption(uid, attempt, in_a_row=in_a_row)
    if end.cause is OutcomeCause.GIVEN_BACK:
        return backoff(uid, attempt, in_a_row=attempt)
    if end.unavoidable:
        in_a_row = 0 if status.attempt_progressed else (status.infrastructure_failures or 0)
        return backoff(uid, attempt, in_a_row=in_a_row)
    return backoff(uid, attempt, in_a_row=status.attempts_without_checkpoint or 0)
