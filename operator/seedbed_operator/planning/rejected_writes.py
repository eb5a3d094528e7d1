"""Writes that the API server rejected: the status after them, and the back-off before the next try."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType
from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_api.pod_contract.labels import ROLE_LABEL
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.job_observation import JobObservation, RejectedWrite
from seedbed_operator.plan import Action, Create, DeleteJob, Plan, PlanBuilder
from seedbed_operator.planning.deadlines import start_active_time
from seedbed_operator.planning.diagnosis.api_rejections import diagnose_rejected_write
from seedbed_operator.planning.job_context import JobContext

BACKOFF = ExponentialBackoff(first=5, longest=300)


def write_retry_time(context: JobContext) -> datetime | None:
    """Return the time of the next try of a rejected write; None where nothing waits."""
    refusals = context.observation.rejected_writes
    due = max((_due(refusal) for refusal in refusals), default=None)
    return due if due is not None and due > context.now else None


def drop_rejected_actions(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Drop the rejected action and later ones until the next try."""
    again = write_retry_time(context)
    if again is None:
        return builder
    names = {(refusal.kind, refusal.name) for refusal in context.observation.rejected_writes}
    at = next((at for at, action in enumerate(builder.actions) if _target(context, action) in names), None)
    return builder if at is None else replace(builder, actions=builder.actions[:at]).requeue(again)


def _target(context: JobContext, action: Action) -> tuple[str, str]:
    return (
        (context.job.kind, context.job.name) if isinstance(action, DeleteJob) else (action.kind, action.name)
    )


def rejected_since(refusal: RejectedWrite) -> datetime:
    """Return when a write was first rejected: the newest time minus the delays before."""
    return refusal.time - timedelta(seconds=sum(map(BACKOFF.delay, range(1, refusal.count))))


def _due(refusal: RejectedWrite) -> datetime:
    return refusal.time + timedelta(seconds=BACKOFF.delay(refusal.count))


def status_after_rejected_write(
    observation: JobObservation, plan: Plan, refusals: tuple[RejectedWrite, ...], first: PlanBuilder
) -> LifecycleStatus:
    """Return the status when a plan stopped at the newest rejected write.

    `first` is the initial builder, used where the attempt did not start.
    """
    assert plan.status is not None, "a plan without a status has no actions"
    newest = refusals[-1]
    begun = _has_driver(plan, newest) or plan.status.attempts == observation.job.status.attempts
    status = _without_replacements(plan.status, observation.job.status) if begun else first.status
    builder = PlanBuilder(now=first.now, generation=first.generation, status=status)
    if not _is_creation(plan, newest) or builder.has_condition(ConditionType.RUNNING):
        return status
    why = diagnose_rejected_write(newest)
    if builder.has_condition(ConditionType.COMPLETE):
        return builder.set_condition(_about(plan, newest), "Unknown", why.reason, why.message).status
    builder = builder if begun else start_active_time(builder)
    return builder.set_waiting(why.reason, why.message).status


def _about(plan: Plan, newest: RejectedWrite) -> ConditionType:
    """Return the condition of a complete job for whose pod a write was rejected."""
    creations = [action for action in plan.actions if isinstance(action, Create)]
    at = next(at for at, each in enumerate(creations) if (each.kind, each.name) == (newest.kind, newest.name))
    pod = next(each for each in creations[at:] if each.kind == "Pod")
    role = pod.body["metadata"]["labels"][ROLE_LABEL]
    return ConditionType.SIGNATURE_STORED if role == "signature-uploader" else ConditionType.REPRODUCED


def _without_replacements(planned: LifecycleStatus, before: LifecycleStatus) -> LifecycleStatus:
    """Return the status without replaced workers that could not be created."""
    if planned.workers is None:
        return planned
    known = before.workers.replaced if before.workers else None
    return planned.model_copy(update={"workers": planned.workers.model_copy(update={"replaced": known})})


def _has_driver(plan: Plan, newest: RejectedWrite) -> bool:
    """Return whether the driver was created before the rejected write."""
    for action in plan.actions:
        if isinstance(action, Create):
            if (action.kind, action.name) == (newest.kind, newest.name):
                return False
            if action.kind == "Pod":
                return True
    return True


def _is_creation(plan: Plan, newest: RejectedWrite) -> bool:
    creations = (action for action in plan.actions if isinstance(action, Create))
    return any((action.kind, action.name) == (newest.kind, newest.name) for action in creations)
