"""When the API server refuses a write: what is true then, and how long to wait before the next try."""

from __future__ import annotations

from datetime import datetime

from seedbed_api.conditions import ConditionType
from seedbed_api.status import TrainingJobStatus
from seedbed_operator.observations import Observation, Refusal
from seedbed_operator.planning.drafts import Draft
from seedbed_operator.planning.explaining.refusals import refused
from seedbed_operator.planning.scenes import Scene
from seedbed_operator.planning.times import seconds
from seedbed_operator.plans import Create, Plan

FIRST_SECONDS = 5
MOST_SECONDS = 300


def tries_again_at(scene: Scene) -> datetime | None:
    """Return when a write that was refused is tried again; None where none was, or where it is time."""
    refusals = scene.observation.refusals
    due = max((_due(refusal) for refusal in refusals), default=None)
    return due if due is not None and due > scene.now else None


def _due(refusal: Refusal) -> datetime:
    pause = min(FIRST_SECONDS * 2 ** min(refusal.count - 1, 16), MOST_SECONDS)
    return refusal.time + seconds(pause)


def status_after(
    observation: Observation, plan: Plan, refusals: tuple[Refusal, ...], first: Draft
) -> TrainingJobStatus:
    """Return the status that is true when a plan's actions stopped at the newest of the refusals.

    `first` is the draft that every plan begins with: it stands where the attempt did not even begin.
    """
    assert plan.status is not None, "a plan without a status has no actions"
    newest = refusals[-1]
    begun = _has_driver(plan, newest) or plan.status.attempts == observation.job.status.attempts
    status = plan.status if begun else first.status
    draft = Draft(now=first.now, generation=first.generation, status=status)
    if not _is_creation(plan, newest) or draft.has(ConditionType.RUNNING):
        return status
    why = refused(newest)
    return draft.waits(why.reason, why.message).status


def _has_driver(plan: Plan, newest: Refusal) -> bool:
    """Tell whether the driver was created before a write was refused."""
    for action in plan.actions:
        if isinstance(action, Create):
            if (action.kind, action.name) == (newest.kind, newest.name):
                return False
            if action.kind == "Pod":
                return True
    return True


def _is_creation(plan: Plan, newest: Refusal) -> bool:
    creations = (action for action in plan.actions if isinstance(action, Create))
    return any((action.kind, action.name) == (newest.kind, newest.name) for action in creations)
