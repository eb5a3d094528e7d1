"""When the API server refuses a write: what is true then, and how long to wait before the next try."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from seedbed_api.conditions import ConditionType
from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.job_observation import JobObservation, RejectedWrite
from seedbed_operator.plan import Action, Create, DeleteJob, Plan, PlanBuilder
from seedbed_operator.planning.deadlines import clock_started
from seedbed_operator.planning.diagnosis.api_rejections import refused
from seedbed_operator.planning.job_context import Scene

BACKOFF = ExponentialBackoff(first=5, longest=300)


def tries_again_at(scene: Scene) -> datetime | None:
    """Return when a write that was refused is tried again; None where none was, or where it is time."""
    refusals = scene.observation.rejected_writes
    due = max((_due(refusal) for refusal in refusals), default=None)
    return due if due is not None and due > scene.now else None


def held_back(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Return the draft without the write that was refused, and those after it, until it is time for it."""
    again = tries_again_at(scene)
    if again is None:
        return draft
    names = {(refusal.kind, refusal.name) for refusal in scene.observation.rejected_writes}
    at = next((at for at, action in enumerate(draft.actions) if _target(scene, action) in names), None)
    return draft if at is None else replace(draft, actions=draft.actions[:at]).wakes(again)


def _target(scene: Scene, action: Action) -> tuple[str, str]:
    return (scene.job.kind, scene.job.name) if isinstance(action, DeleteJob) else (action.kind, action.name)


def refused_since(refusal: RejectedWrite) -> datetime:
    """Return when a write was refused first: the newest time, less the pauses before it."""
    return refusal.time - timedelta(seconds=sum(map(BACKOFF.delay, range(1, refusal.count))))


def _due(refusal: RejectedWrite) -> datetime:
    return refusal.time + timedelta(seconds=BACKOFF.delay(refusal.count))


def status_after(
    observation: JobObservation, plan: Plan, refusals: tuple[RejectedWrite, ...], first: PlanBuilder
) -> LifecycleStatus:
    """Return the status that is true when a plan's actions stopped at the newest of the refusals.

    `first` is the draft that every plan begins with: it stands where the attempt did not even begin.
    """
    assert plan.status is not None, "a plan without a status has no actions"
    newest = refusals[-1]
    begun = _has_driver(plan, newest) or plan.status.attempts == observation.job.status.attempts
    status = _nothing_replaced(plan.status, observation.job.status) if begun else first.status
    draft = PlanBuilder(now=first.now, generation=first.generation, status=status)
    if not _is_creation(plan, newest) or draft.has(ConditionType.RUNNING):
        return status
    draft = draft if begun else clock_started(draft)
    why = refused(newest)
    return draft.waits(why.reason, why.message).status


def _nothing_replaced(planned: LifecycleStatus, before: LifecycleStatus) -> LifecycleStatus:
    """Return the status without the workers that it counted as replaced and that could not be created."""
    if planned.workers is None:
        return planned
    known = before.workers.replaced if before.workers else None
    return planned.model_copy(update={"workers": planned.workers.model_copy(update={"replaced": known})})


def _has_driver(plan: Plan, newest: RejectedWrite) -> bool:
    """Tell whether the driver was created before a write was refused."""
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
