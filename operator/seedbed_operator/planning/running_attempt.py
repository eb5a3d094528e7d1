"""Plan for a running attempt: record progress, replace workers, detect its end, apply its limits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.backends.child_metadata import OWNER_SECRET_NAME
from seedbed_operator.backends.owner_key import owner_key_secret
from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Create, EvidenceRequest, PlanBuilder
from seedbed_operator.planning.attempt_outcome import AttemptOutcome, OutcomeCause, outcome_of_attempt
from seedbed_operator.planning.deadlines import (
    active_deadline,
    active_deadline_message,
    all_scheduled,
    first_step_deadline,
    next_step_deadline,
    pre_running_deadline_outcome,
    progress_deadline_outcome,
    track_active_time,
)
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.profile_problems import (
    check_profile_policy,
    diagnose_namespace,
    diagnose_profile,
    lacks_namespace_labels,
)
from seedbed_operator.planning.diagnosis.startup_delay import (
    EXPECTED_START,
    attempt_pods,
    diagnose_pods,
    diagnose_startup,
    pod_event_requests,
    slow_pods,
)
from seedbed_operator.planning.diagnosis.volume_mounts import diagnose_missing_secret, lacks_owner_key
from seedbed_operator.planning.driver_progress import record_progress
from seedbed_operator.planning.failure_accounting import account_attempt
from seedbed_operator.planning.gang_scheduling import (
    autoscaler_event_requests,
    gang_deadline,
    gang_deadline_outcome,
)
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.job_phase import (
    driver_reports_training,
    has_trained,
    is_finishing,
    lacks_workers,
    lacks_workers_since,
)
from seedbed_operator.planning.pod_cleanup import delete_pods
from seedbed_operator.planning.pod_state import has_ended_or_is_lost, is_lost, is_running
from seedbed_operator.planning.ray_token_secret import lost_token_outcome
from seedbed_operator.planning.rejected_writes import write_retry_time
from seedbed_operator.planning.sidecar_containers import has_output, log_container
from seedbed_operator.planning.start_attempt import attempt_image, build_attempt, record_start
from seedbed_operator.planning.suspension import is_stopping, stop_attempt
from seedbed_operator.planning.template_drift import (
    describe_pending_changes,
    is_template_outdated,
    template_drift_outcome,
)
from seedbed_operator.planning.terminal_state import fail_job
from seedbed_operator.planning.worker_count import free_group_slots, max_ranks, min_ranks, missing_workers
from seedbed_operator.planning.worker_replacement import (
    count_replaced_workers,
    crash_loop_outcome,
    delete_oldest_ended_workers,
    replacement_allowed_at,
    replacement_limit_outcome,
    replacements_used_up,
)

POLL_INTERVAL = timedelta(seconds=10)
SILENCE_REPORTED_AFTER = timedelta(seconds=60)
REPLACEMENT_GRACE = timedelta(seconds=30)
"""Running stays True where a lost worker is replaced within this time."""
_CAUSES_WITHOUT_LOG = frozenset({OutcomeCause.DONE, OutcomeCause.STOPPED, OutcomeCause.GIVEN_BACK})
_ATTEMPT_LIMITS: tuple[Callable[[JobContext], AttemptOutcome | None], ...] = (
    lost_token_outcome,
    gang_deadline_outcome,
    pre_running_deadline_outcome,
    progress_deadline_outcome,
    crash_loop_outcome,
    replacement_limit_outcome,
    template_drift_outcome,
)


def plan_running_attempt(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Return the plan for an open attempt."""
    driver = context.driver
    if driver is not None and (refused := _refuse_unrecorded(context, builder, driver)):
        return refused
    if driver is not None:
        builder = track_active_time(context, record_start(context, builder, driver))
    if driver is None or has_ended_or_is_lost(driver, context.now):
        return _end_attempt(context, builder, outcome_of_attempt(context, driver))
    if is_stopping(context):
        return stop_attempt(context, builder)
    if driver.deleting:
        message = f"driver pod {driver.name} is being deleted by another client; it writes a checkpoint first"
        return builder.set_waiting(RunningReason.STOPPING, message).requeue(context.now + POLL_INTERVAL)
    if evidence_requests := _evidence_requests(context, driver):
        return builder.add_requests(*evidence_requests).requeue(context.now + POLL_INTERVAL)
    builder = _record_live_progress(context, builder)
    if late := active_deadline_message(context, builder.status):
        return fail_job(context, builder, FailedReason.DEADLINE_EXCEEDED, late)
    for must_end in _ATTEMPT_LIMITS:
        if end := must_end(context):
            return _end_attempt(context, builder, end)
    return _continue_attempt(context, builder, driver)


def _refuse_unrecorded(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder | None:
    """Return the plan for a driver that no status tells of, in a namespace that may not use the profile.

    The operator made it just before it crashed, or a user did, with labels, name and owner of a driver:
    workers with what the profile grants would follow.
    """
    if context.attempt <= (context.status.attempts or 0):
        return None
    if lacks_namespace_labels(context):
        return builder.add_requests(EvidenceRequest(kind="NamespaceLabels")).requeue(context.now)
    if context.profile is None and not is_stopping(context) and not has_ended_or_is_lost(driver, context.now):
        why = diagnose_profile(context)  # what the profile grants is not known
        return builder.set_waiting(why.reason, why.message) if why else None
    problem = diagnose_namespace(context)
    return delete_pods(context, builder).set_stalled(problem.reason, problem.message) if problem else None


def _end_attempt(context: JobContext, builder: PlanBuilder, end: AttemptOutcome) -> PlanBuilder:
    if is_stopping(context) and end.cause not in (OutcomeCause.DONE, OutcomeCause.USER):
        end = AttemptOutcome(
            cause=OutcomeCause.STOPPED,
            reason="Suspended",
            message="its pods are deleted",
            outcome=end.outcome,
        )
    evidence_requests = _log_requests(context, end)
    return (
        builder.add_requests(*evidence_requests).requeue(context.now)
        if evidence_requests
        else account_attempt(context, builder, end)
    )


def _log_requests(context: JobContext, end: AttemptOutcome) -> tuple[EvidenceRequest, ...]:
    pod = end.pod
    if pod is None or is_lost(pod, context.now) or end.cause in _CAUSES_WITHOUT_LOG:
        return ()
    if pod.uid in context.evidence.log_tails or not has_output(pod):
        return ()
    return (EvidenceRequest(kind="LogTail", pod=pod.name, pod_uid=pod.uid, container=log_container(pod)),)


def _evidence_requests(context: JobContext, driver: PodView) -> tuple[EvidenceRequest, ...]:
    """Return all evidence requests that the decision needs."""
    evidence_requests = {
        need.pod_uid: need for need in (*pod_event_requests(context), *autoscaler_event_requests(context))
    }
    asked = tuple(evidence_requests.values())
    if driver.phase != "Running" or driver.ip is None or not _needs_progress(context, driver):
        return asked
    return (EvidenceRequest(kind="Progress", pod=driver.name, pod_uid=driver.uid, address=driver.ip), *asked)


def _needs_progress(context: JobContext, driver: PodView) -> bool:
    """Return whether to poll the driver: when it gets ready, and before a deadline ends the attempt."""
    if driver.uid not in context.evidence.progress:
        return True
    asked = context.evidence.progress_asked.get(driver.uid)
    if asked is not None and driver.ready_since is not None and asked < driver.ready_since:
        return True
    deadlines = (first_step_deadline(context), next_step_deadline(context))
    over = [deadline for deadline in deadlines if deadline is not None and context.now >= deadline]
    return any(asked is None or asked < deadline for deadline in over)


def _record_live_progress(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    if context.live is None:
        return builder
    since = context.driver.started if context.driver else None
    return record_progress(builder, context.live, goes_on=context.is_true(ConditionType.RUNNING), since=since)


def _continue_attempt(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder:
    if context.drivers[0] is not driver:
        builder = delete_pods(context, builder, up_to=context.attempt - 1)
    builder = delete_oldest_ended_workers(context, builder)
    builder = _create_missing_workers(context, _create_owner_key(context, builder), driver)
    builder = _set_worker_counts(context, builder)
    builder = builder.requeue(*_requeue_times(context, driver, active_deadline(context, builder.status)))
    if lacks_workers(context):
        return _set_lacking_workers(context, builder)
    if has_trained(context):
        return _set_training(context, builder)
    return _set_waiting(context, builder, diagnose_startup(context))


def _set_waiting(context: JobContext, builder: PlanBuilder, why: Diagnosis) -> PlanBuilder:
    return builder.set_waiting(why.reason, _joined(why.message, describe_pending_changes(context)))


def _set_lacking_workers(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Explain why a trained attempt lacks workers; Running becomes False where that lasts."""
    why, since = diagnose_startup(context), lacks_workers_since(context)
    assert since is not None
    due = since + REPLACEMENT_GRACE
    if context.now >= due and not driver_reports_training(context):
        return _set_waiting(context, builder, why)
    text = _joined(f"workers are being replaced: {why.message}", describe_pending_changes(context))
    return builder.set_running(RunningReason.TRAINING, text).requeue(due if context.now < due else None)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def _requeue_times(context: JobContext, driver: PodView, due: datetime | None) -> list[datetime]:
    """Return the future times at which time alone changes the plan."""
    pending = [
        pod.scheduled + EXPECTED_START
        for pod in attempt_pods(context)
        if pod.phase == "Pending" and pod.scheduled
    ]
    looks = driver.phase == "Running" or slow_pods(context)
    moments = (
        context.now + POLL_INTERVAL if looks else None,
        *pending,
        gang_deadline(context),
        first_step_deadline(context),
        next_step_deadline(context),
        due,
        write_retry_time(context),
        replacement_allowed_at(context),
    )
    return [moment for moment in moments if moment is not None and moment > context.now]


def _set_training(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Set Running; also while the driver does not respond, until the progress deadline."""
    live = context.live
    if live is None:
        return _set_silent_driver(context, builder)
    if live.activity == "Starting":
        return _set_regrouping(builder, describe_pending_changes(context))
    waiting = diagnose_pods(context) or _diagnose_missing_workers(context)
    text = f"trains with fewer workers: {waiting.message}" if waiting else _describe_blocked_growth(context)
    reason = _ACTIVITIES.get(live.activity, RunningReason.TRAINING)
    return builder.set_running(reason, _joined(text, describe_pending_changes(context)))


def _set_regrouping(builder: PlanBuilder, *more: str) -> PlanBuilder:
    return builder.set_running(RunningReason.TRAINING, _joined("its workers form a new process group", *more))


def _diagnose_missing_workers(context: JobContext) -> Diagnosis | None:
    """Return why an attempt below its maximum gets no more workers."""
    return diagnose_profile(context) if missing_workers(context, ranks=max_ranks(context)) else None


def _describe_blocked_growth(context: JobContext) -> str:
    """Return a note where only the next attempt can have more workers."""
    if not (is_template_outdated(context) and missing_workers(context, ranks=max_ranks(context))):
        return ""
    return "trains with the workers it has: the profile has changed, and the next attempt uses the new one"


def _set_silent_driver(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Report a driver that has not responded for a while; a single poll may fail."""
    ends_at = next_step_deadline(context)
    changed = context.evidence.progress_changed.get(context.driver.uid) if context.driver else None
    if ends_at is None or changed is None or context.now < changed + SILENCE_REPORTED_AFTER:
        return builder if context.is_true(ConditionType.RUNNING) else _set_regrouping(builder)
    message = f"the driver does not respond; unless it does, the attempt ends at {format_time(ends_at)}"
    return builder.set_running(RunningReason.TRAINING, message)


_ACTIVITIES = {
    "Evaluating": RunningReason.EVALUATING,
    "Checkpointing": RunningReason.CHECKPOINTING,
}


def _create_owner_key(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Create the key of the namespace again, once, where it was deleted before the pods mounted it."""
    told = context.condition(ConditionType.RUNNING)
    done = told is not None and diagnose_missing_secret(OWNER_SECRET_NAME).message in told.message
    if done or not lacks_owner_key(slow_pods(context), context.evidence):
        return builder
    return builder.add_actions(owner_key_secret(context.job.namespace, may_be_gone=True))


def _create_missing_workers(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Create missing workers, and with the first of them the children that a crash left out."""
    profile, backend = context.profile, context.backend
    if profile is None or backend is None or is_finishing(context) or _must_pause(context):
        return builder
    if is_template_outdated(context):
        return builder
    missing = missing_workers(context, ranks=_ranks_wanted(context))
    if (context.attempt_workers and not missing) or _not_allowed(context):
        return builder
    attempt = build_attempt(
        builder,
        context.attempt,
        image=attempt_image(context, profile),
        workers=missing,
        driver=driver,
        gang_size=driver.gang_size or 0,
        alone=missing[free_group_slots(context) :],
    )
    children = backend.children(context.job, profile, attempt)
    return builder.add_actions(*(child for child in children if _is_wanted(context, child, driver)))


def _ranks_wanted(context: JobContext) -> int:
    grows = has_trained(context) and not replacements_used_up(context)
    return max_ranks(context) if grows else min_ranks(context)


def _not_allowed(context: JobContext) -> Diagnosis | None:
    """Return what the profile does not allow; it may have changed since the attempt started."""
    if context.profile is None or context.profile.spec is None:
        return None
    return check_profile_policy(context.spec, context.profile.spec, ranks=max_ranks(context))


def _must_pause(context: JobContext) -> bool:
    """Return whether to delay new workers: writes were rejected, or workers crashed recently."""
    replaced_at = replacement_allowed_at(context)
    return write_retry_time(context) is not None or (replaced_at is not None and context.now < replaced_at)


def _is_wanted(context: JobContext, child: Create, driver: PodView) -> bool:
    if child.kind == "Pod":
        return child.name != driver.name
    return not context.attempt_workers


def _set_worker_counts(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    desired = _ranks_wanted(context)
    running = sum(is_running(pod, context.now) for pod in context.attempt_workers) * context.workers_per_pod
    known = (context.live and context.live.workers) or context.status.workers
    text = known.ready if known else 0
    counts = WorkerCounts(
        ready=min(text, running),
        desired=desired,
        replaced=count_replaced_workers(context, builder, desired),
        **_worker_times(context),
    )
    return builder.set_status(workers=counts)


def _worker_times(context: JobContext) -> dict[str, str | None]:
    """Return since when pods are scheduled, lacking or complete; the status stores it across restarts."""
    before = context.status.workers or WorkerCounts(ready=0, desired=0)
    if not has_trained(context):
        since = before.placed_since or format_time(context.now)
        return {"placed_since": since if all_scheduled(context) else None}
    if lacks_workers(context):
        return {"lacking_since": before.lacking_since or format_time(context.now)}
    if before.lacking_since is not None:
        return {"complete_since": format_time(context.now)}
    return {"complete_since": before.complete_since}
