"""Suspend and resume: the driver checkpoints and ends, then its workers; nothing of it is counted."""

from __future__ import annotations

from seedbed_api.conditions import ConditionType, RunningReason
from seedbed_api.timestamps import written
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_cleanup import cleared
from seedbed_operator.planning.template_drift import was_edited

SUSPENDING = "Suspending"
RESUMED = "Resumed"
_STOPPING = "told to stop: it checkpoints at the end of the step"
_EDITED = f"the job was suspended, changed and resumed while no operator was there to see it; {_STOPPING}"


def is_stopping(scene: Scene) -> bool:
    """Tell whether the newest attempt is to end, or was told to, because the job is or was suspended."""
    return scene.spec.suspend or was_told_to_stop(scene.status) or was_edited(scene)


def was_told_to_stop(status: LifecycleStatus) -> bool:
    """Tell whether a suspension had begun when the status was written."""
    return any(
        found.type == ConditionType.SUSPENDED and found.reason == SUSPENDING for found in status.conditions
    )


def stopped(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Stop the attempt under way, driver first."""
    draft = cleared(scene, draft)
    told = _EDITED if was_edited(scene) and not scene.spec.suspend else _STOPPING
    draft = draft.finds(ConditionType.SUSPENDED, "False", SUSPENDING, told)
    return draft.waits(RunningReason.STOPPING, told)


def suspended(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Wait for the last pod to be gone, then say so."""
    if scene.remaining():
        draft = cleared(scene, draft)
        message = "waiting for the last pod to be gone"
        draft = draft.finds(ConditionType.SUSPENDED, "False", SUSPENDING, message)
        return draft.waits(RunningReason.STOPPING, message)
    message = "spec.suspend is true; set it to false to go on from the newest checkpoint"
    draft = draft.finds(ConditionType.SUSPENDED, "True", RunningReason.SUSPENDED, message)
    draft = draft.tells(retry_time=None, workers=None)
    draft = draft.finds(ConditionType.RUNNING, "False", RunningReason.SUSPENDED, message)
    return draft.settles(RunningReason.SUSPENDED)


def resumed(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Note that a suspension is over: the clock of activeDeadlineSeconds starts again."""
    found = scene.condition(ConditionType.SUSPENDED)
    if found is None or found.reason == RESUMED:
        return draft
    draft = draft.finds(ConditionType.SUSPENDED, "False", RESUMED)
    resumed_at = written(scene.now) if scene.status.start_time else None
    return draft.tells(resume_time=resumed_at, attempt_progressed=None)
