"""Plan of one job: the policies in order; the first one that applies decides."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType, FailedReason, RunningReason
from seedbed_api.execution_settings import OPERATOR
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.backends.pods_backend import BACKENDS
from seedbed_operator.job_observation import JobObservation, JobView, PodView, RejectedWrite
from seedbed_operator.plan import EvidenceRequest, Plan, PlanBuilder
from seedbed_operator.planning.deadlines import active_deadline, active_deadline_message
from seedbed_operator.planning.diagnosis.api_rejections import diagnose_rejected_write
from seedbed_operator.planning.diagnosis.profile_problems import (
    diagnose_namespace,
    diagnose_profile,
    lacks_namespace_labels,
)
from seedbed_operator.planning.internal_errors import (
    clear_internal_error,
    set_failed_write,
    set_internal_error,
)
from seedbed_operator.planning.job_context import JobContext, build_context
from seedbed_operator.planning.job_deletion import orphans_its_pods, plan_job_deletion
from seedbed_operator.planning.kubernetes_events import events_between
from seedbed_operator.planning.name_conflicts import find_name_conflict
from seedbed_operator.planning.pod_cleanup import RECHECK_INTERVAL, delete_pods
from seedbed_operator.planning.rejected_writes import (
    drop_rejected_actions,
    status_after_rejected_write,
    write_retry_time,
)
from seedbed_operator.planning.running_attempt import plan_running_attempt
from seedbed_operator.planning.sidecar_containers import describe_still_running
from seedbed_operator.planning.start_attempt import start_attempt
from seedbed_operator.planning.status_throttle import throttle_status
from seedbed_operator.planning.suspension import clear_suspension, finish_suspension
from seedbed_operator.planning.terminal_state import (
    clean_up_finished_job,
    fail_job,
    finish_job,
    is_finished,
    terminal_condition,
)

LABELS_RECHECK_INTERVAL = timedelta(seconds=60)
"""Namespaces are not watched: a job that waits for a label of its own looks again after this time."""


def plan(observation: JobObservation, backends: Backends = BACKENDS) -> Plan:
    """Return the actions for a job and its status after them."""
    if is_unmanaged(observation.job):
        return Plan()
    context = build_context(observation, backends)
    builder = throttle_status(
        context, drop_rejected_actions(context, decide(context, initial_builder(context)))
    )
    return Plan(
        actions=builder.actions,
        status=builder.status,
        events=events_between(context.status, builder.status),
        evidence_requests=builder.evidence_requests,
        signing=builder.signing,
        requeue_at=builder.requeue_at,
    )


def status_after_rejection(
    observation: JobObservation,
    plan: Plan,
    rejected_writes: tuple[RejectedWrite, ...],
    backends: Backends = BACKENDS,
) -> LifecycleStatus:
    """Return the status when the actions of a plan stopped at the newest rejected write."""
    return status_after_rejected_write(
        observation, plan, rejected_writes, initial_builder(build_context(observation, backends))
    )


def status_after_internal_error(job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
    """Return the status after internal errors; None where the job has ended or is unmanaged."""
    if is_unmanaged(job) or job.deleting or is_finished(job.status):
        return None
    return set_internal_error(
        PlanBuilder(now=now, generation=job.generation, status=job.status), message
    ).status


def status_after_failed_write(job: JobView, now: datetime, message: str) -> LifecycleStatus | None:
    """Return the status after repeated failures of a write; None as above."""
    if is_unmanaged(job) or is_finished(job.status):
        return None
    return set_failed_write(
        PlanBuilder(now=now, generation=job.generation, status=job.status), message
    ).status


def is_unmanaged(job: JobView) -> bool:
    """Return whether another controller manages the job, or its pods are to be orphaned."""
    manager = job.spec.managed_by if job.spec else job.managed_by
    return orphans_its_pods(job) or (manager or OPERATOR) != OPERATOR


def initial_builder(context: JobContext) -> PlanBuilder:
    """Return the builder of the plan; a new job gets its first conditions."""
    status = context.status.model_copy(update={"observed_generation": context.job.generation})
    builder = PlanBuilder(now=context.now, generation=context.job.generation, status=status)
    if context.condition(ConditionType.RUNNING) is None:
        return builder.set_waiting(RunningReason.PENDING, "accepted by the operator")
    return clear_internal_error(context, builder)


def decide(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Return the plan of the policy that applies."""
    verdict = terminal_condition(context.status)
    if is_finished(context.status):
        return clean_up_finished_job(context, builder)
    if context.job.deleting:
        return plan_job_deletion(context, builder)
    if verdict is not None:
        return finish_job(context, builder, verdict)
    if context.job.spec is None:
        message = context.job.spec_error or "the spec is not valid"
        return fail_job(context, builder, FailedReason.INVALID_SPEC, message)
    if context.has_open_attempt:
        return plan_running_attempt(context, builder)
    return plan_next_attempt(context, builder)


def plan_next_attempt(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Suspend, wait for old pods, back off, or start the next attempt."""
    if context.spec.suspend:
        return finish_suspension(context, builder)
    builder = clear_suspension(context, builder)
    if message := active_deadline_message(context, builder.status):
        return fail_job(context, builder, FailedReason.DEADLINE_EXCEEDED, message)
    builder = builder.requeue(active_deadline(context, builder.status))
    retry = parse_time(builder.status.retry_time)
    backs_off = retry is not None and context.now < retry
    if left := context.remaining_pods():
        builder = delete_pods(context, builder).requeue(retry if backs_off else None)
        return builder if backs_off else _wait_for_old_pods(left, builder)
    if backs_off:
        return builder.requeue(retry)
    return _start_unless_blocked(context, builder)


def _wait_for_old_pods(left: tuple[PodView, ...], builder: PlanBuilder) -> PlanBuilder:
    names = ", ".join(pod.name for pod in left[:3])
    message = (
        f"waiting for pods of an earlier attempt to end: {names}; a pod that stays has a finalizer"
    ) + describe_still_running(left)
    return builder.set_waiting(RunningReason.TERMINATING_OLD_PODS, message)


def _start_unless_blocked(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    if conflict := find_name_conflict(context):
        return builder.set_waiting(conflict.reason, conflict.message).requeue(context.now + RECHECK_INTERVAL)
    if again := write_retry_time(context):
        why = diagnose_rejected_write(context.observation.rejected_writes[-1])
        return builder.set_waiting(why.reason, why.message).requeue(again)
    return _start_if_profile_allows(context, builder)


def _start_if_profile_allows(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    if lacks_namespace_labels(context):
        return builder.add_requests(EvidenceRequest(kind="NamespaceLabels")).requeue(context.now)
    if problem := diagnose_namespace(context) or diagnose_profile(context):
        if problem.reason == FailedReason.INVALID_SPEC:  # no profile can allow it
            return fail_job(context, builder, FailedReason.INVALID_SPEC, problem.message)
        waits = problem.reason == RunningReason.PROFILE_NOT_FOUND
        set_reason = builder.set_waiting if waits else builder.set_stalled
        again = context.now + LABELS_RECHECK_INTERVAL if context.evidence.namespace is not None else None
        return set_reason(problem.reason, problem.message).requeue(again)
    profile, backend = context.profile, context.backend
    assert profile is not None
    assert backend is not None
    return start_attempt(context, builder, profile, backend)
