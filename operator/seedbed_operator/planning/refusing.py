"""The status when the API server refused a write: what was planned has not come about, and why."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.status import TrainingJobStatus
from seedbed_operator.backends.choosing import BACKENDS
from seedbed_operator.observations import Observation, Refusal
from seedbed_operator.planning.deciding import first_sight
from seedbed_operator.planning.scenes import scene_of
from seedbed_operator.plans import Create, Plan


def plan_status_after(
    observation: Observation, plan: Plan, refusals: tuple[Refusal, ...]
) -> TrainingJobStatus:
    """Return the status that is true when the actions of a plan stopped at a refusal."""
    assert plan.status is not None, "a plan without a status has no actions"
    draft = first_sight(scene_of(observation, BACKENDS))
    begins = (plan.status.attempts or 0) > (draft.status.attempts or 0)
    if not (begins and _has_no_driver(plan, refusals)):
        return plan.status
    refusal = refusals[-1]
    return draft.waits(RunningReason.QUOTA_EXCEEDED, refusal.message).status


def _has_no_driver(plan: Plan, refusals: tuple[Refusal, ...]) -> bool:
    """Tell whether the first refused write comes before, or is, that of the driver."""
    names = {(refusal.kind, refusal.name) for refusal in refusals}
    for action in plan.actions:
        if isinstance(action, Create):
            if (action.kind, action.name) in names:
                return True
            if action.kind == "Pod":
                return False
    return False
