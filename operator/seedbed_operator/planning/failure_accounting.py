"""The end of an attempt, written into the status: counters, last failure, back-off, verdict.

It is written before any pod of the attempt is deleted; what it needs of the pods is gone afterwards.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason, one_line
from seedbed_api.json_log_lines import readable
from seedbed_api.pod_contract.paths import pod_log_path
from seedbed_api.timestamps import rounded_up, written
from seedbed_api.trainingjob_status import LONGEST_LOG_TAIL, Failure, LifecycleStatus, WorkerCounts
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.attempt_outcome import Cause, End, camel_reason
from seedbed_operator.planning.driver_progress import told_by_outcome, without_estimate
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.restart_backoff import backoff, backoff_after_preemption
from seedbed_operator.planning.sidecar_containers import exit_code_of
from seedbed_operator.planning.terminal_state import decided

MOST_WITHOUT_CHECKPOINT = 20
"""Attempts in a row without a new checkpoint after which a job fails, whatever backoffLimit says."""
_COUNT_AS_FAILURE_FROM = 3
_LONGEST_URI = 1024
_COUNTERS = {
    Cause.FAILURE: "failures",
    Cause.INFRASTRUCTURE: "infrastructure_failures",
    Cause.PREEMPTION: "preemptions",
}
_TELLING = frozenset(
    {
        RunningReason.PREEMPTED,
        RunningReason.NODE_LOST,
        RunningReason.DRIVER_LOST,
        RunningReason.RAY_UNHEALTHY,
        RunningReason.PRE_RUNNING_DEADLINE_EXCEEDED,
        RunningReason.PROGRESS_DEADLINE_EXCEEDED,
    }
)
"""Ends of attempts that `kubectl get` tells in one word while the job backs off; the message tells others."""
_UNCOUNTED = frozenset({Cause.DONE, Cause.USER, Cause.STOPPED, Cause.GIVEN_BACK})


def accounted(scene: Scene, draft: PlanBuilder, end: End) -> PlanBuilder:
    """Return the draft in which the newest attempt has ended; nothing but the status changes."""
    draft = without_estimate(told_by_outcome(draft, end.outcome, since=_process_start(scene)))
    draft = draft.tells(
        accounted_attempts=scene.attempt,
        attempts=scene.attempt,
        workers=_none_at_work(draft.status.workers),
        log_uri=_log_uri(scene, end) or draft.status.log_uri,
    ).wakes(scene.now)
    if end.cause is Cause.DONE:
        return decided(draft, ConditionType.COMPLETE, end.reason, "the run is complete")
    draft = _with_last_failure(scene, draft, end)
    if end.cause is Cause.USER:
        return decided(draft, ConditionType.FAILED, camel_reason(end.reason, "DriverCrashed"), end.message)
    draft = _counted(draft, end)
    if _is_too_often(scene, draft.status):
        message = _too_often(scene, draft.status, end)
        starved = end.reason == FailedReason.OUT_OF_MEMORY
        reason = FailedReason.OUT_OF_MEMORY if starved else FailedReason.BACKOFF_LIMIT_EXCEEDED
        return decided(draft, ConditionType.FAILED, reason, message)
    return _backing_off(scene, draft, end)


def _process_start(scene: Scene) -> datetime | None:
    """Return when the driver's process began, by the clock of its machine."""
    return scene.driver.started if scene.driver else None


def _none_at_work(workers: WorkerCounts | None) -> WorkerCounts | None:
    return WorkerCounts(ready=0, desired=workers.desired) if workers else None


def _with_last_failure(scene: Scene, draft: PlanBuilder, end: End) -> PlanBuilder:
    if end.cause in (Cause.STOPPED, Cause.GIVEN_BACK):
        return draft
    pod = end.pod
    failure = Failure(
        attempt=scene.attempt,
        reason=camel_reason(end.reason, "DriverCrashed"),
        message=one_line(end.message),
        time=written(scene.now),
        pod=pod.name if pod else None,
        node=pod.node if pod else None,
        exit_code=exit_code_of(pod) if pod else None,
        log_tail=_log_tail(scene, end),
        log_uri=_log_uri(scene, end),
    )
    return draft.tells(last_failure=failure)


def _log_tail(scene: Scene, end: End) -> str | None:
    if end.pod is None:
        return None
    text = scene.evidence.log_tails.get(end.pod.uid) or ""
    if not text and end.pod.terminated and end.outcome is None:
        text = end.pod.terminated.message
    text = "\n".join(readable(line) for line in text.splitlines())
    tail = text.encode(errors="replace")[-LONGEST_LOG_TAIL:].decode(errors="ignore").replace("\0", "")
    return tail or None


def _log_uri(scene: Scene, end: End) -> str | None:
    if end.pod is None or end.pod.started is None:
        return None
    base = scene.spec.output.uri.rstrip("/")
    uri = f"{base}/{pod_log_path(scene.job.uid, scene.attempt, end.pod.name)}/"
    return uri if len(uri) <= _LONGEST_URI else None


def _counted(draft: PlanBuilder, end: End) -> PlanBuilder:
    """Count an end; what no attempt could have helped is not counted as one without progress."""
    if end.cause in _UNCOUNTED:
        return draft
    status, spared = draft.status, _is_spared(end)
    before = status.attempts_without_checkpoint or 0
    fruitless = 0 if status.attempt_progressed else before + (not spared)
    again = fruitless >= _COUNT_AS_FAILURE_FROM and not spared
    counted = {_COUNTERS[end.cause]} | ({"failures"} if again else set())
    counts = {name: (getattr(status, name) or 0) + 1 for name in counted}
    return draft.tells(attempts_without_checkpoint=fruitless, **counts)


def _is_spared(end: End) -> bool:
    return end.cause is Cause.PREEMPTION or end.blameless


def _is_too_often(scene: Scene, status: LifecycleStatus) -> bool:
    fruitless = (status.attempts_without_checkpoint or 0) >= MOST_WITHOUT_CHECKPOINT
    return fruitless or (status.failures or 0) > scene.spec.backoff_limit


def _too_often(scene: Scene, status: LifecycleStatus, end: End) -> str:
    count = status.failures or 0
    if count > scene.spec.backoff_limit:
        told = f"{count} failed attempts are more than spec.backoffLimit {scene.spec.backoff_limit}"
    else:
        told = f"{MOST_WITHOUT_CHECKPOINT} attempts in a row made no checkpoint"
    return f"{told}; the last, attempt {scene.attempt}: {end.reason}: {end.message}"


def _backing_off(scene: Scene, draft: PlanBuilder, end: End) -> PlanBuilder:
    if end.cause is Cause.STOPPED:
        return draft.tells(retry_time=None).waits(RunningReason.STOPPING, end.message)
    retry = rounded_up(scene.now + _pause(scene, draft.status, end))
    draft = draft.tells(retry_time=written(retry)).wakes(retry)
    next_one = f"the next attempt begins at {written(retry)}"
    if end.cause is Cause.GIVEN_BACK:
        return draft.waits(end.reason, f"{end.message}; what it held is given back, {next_one}")
    reason = reason_of_back_off(end.reason)
    return draft.waits(reason, f"attempt {scene.attempt} ended: {end.reason}: {end.message}; {next_one}")


def reason_of_back_off(reason: str) -> RunningReason:
    """Return the reason of Running after an attempt that ended for a reason."""
    return RunningReason(reason) if reason in _TELLING else RunningReason.BACKING_OFF


def _pause(scene: Scene, status: LifecycleStatus, end: End) -> timedelta:
    """Return the pause, which grows while attempts make no progress, whoever is to blame."""
    uid, attempt = scene.job.uid, scene.attempt
    if end.cause is Cause.PREEMPTION:
        in_a_row = 0 if status.attempt_progressed else (status.preemptions or 0)
        return backoff_after_preemption(uid, attempt, in_a_row=in_a_row)
    if end.cause is Cause.GIVEN_BACK:
        return backoff(uid, attempt, in_a_row=attempt)
    if end.blameless:
        in_a_row = 0 if status.attempt_progressed else (status.infrastructure_failures or 0)
        return backoff(uid, attempt, in_a_row=in_a_row)
    return backoff(uid, attempt, in_a_row=status.attempts_without_checkpoint or 0)
