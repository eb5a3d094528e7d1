"""The end of a job: decided first, then its pods are removed, then it is final and does not change again."""

from __future__ import annotations

from datetime import timedelta

from seedbed_api.conditions import Condition, ConditionType
from seedbed_api.timestamps import lasted, parsed, written
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.plan import DeleteJob, PlanBuilder
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_cleanup import cleared
from seedbed_operator.planning.sidecar_containers import what_runs_on

_FINAL = (ConditionType.COMPLETE, ConditionType.FAILED)


def is_final(status: LifecycleStatus) -> bool:
    """Tell whether the job is complete or has failed."""
    return any(found.type in _FINAL and found.status == "True" for found in status.conditions)


def verdict_of(status: LifecycleStatus) -> Condition | None:
    """Return the end that was decided while pods were still there."""
    return next((found for found in status.conditions if found.type in _FINAL), None)


def decided(draft: PlanBuilder, kind: ConditionType, reason: str, message: str) -> PlanBuilder:
    """Decide the end: Complete or Failed is there, but False, until the last pod is gone."""
    draft = draft.finds(kind, "False", reason, message).tells(retry_time=None).wakes(draft.now)
    return over(draft, kind, reason, message)


def over(draft: PlanBuilder, kind: str, reason: str, message: str) -> PlanBuilder:
    """Say that nothing runs any more; a failure shows at once, or `helm --wait` would take it for success."""
    if kind == ConditionType.FAILED:
        return draft.stalls(reason, message)
    return draft.finds(ConditionType.RUNNING, "False", reason, message).settles(reason)


def wound_up(scene: Scene, draft: PlanBuilder, verdict: Condition) -> PlanBuilder:
    """Remove the pods of a job whose end is decided, driver first; make it final when none is left."""
    left = scene.remaining()
    if not left:
        return final(draft, verdict)
    draft = cleared(scene, draft)
    held = what_runs_on(left)
    return (
        draft.finds(ConditionType.RUNNING, "False", verdict.reason, verdict.message + held) if held else draft
    )


def final(draft: PlanBuilder, verdict: Condition) -> PlanBuilder:
    """Make the decided end final."""
    reason, message = verdict.reason, verdict.message
    start = parsed(draft.status.start_time)
    draft = draft.finds(verdict.type, "True", reason, message).tells(
        completion_time=written(draft.now), duration=lasted(start, draft.now) if start else None
    )
    return over(draft.wakes(draft.now), verdict.type, reason, message)


def failed_at_once(scene: Scene, draft: PlanBuilder, reason: str, message: str) -> PlanBuilder:
    """Fail the job; where it has no pods, for good."""
    draft = decided(draft, ConditionType.FAILED, reason, message)
    verdict = verdict_of(draft.status)
    assert verdict is not None
    return draft if scene.remaining() else final(draft, verdict)


def after_the_end(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Remove late pods of a job that is over, and the object itself when its time is over."""
    draft = cleared(scene, draft)
    limit = scene.job.spec.ttl_seconds_after_finished if scene.job.spec else None
    ended = parsed(scene.status.completion_time)
    if limit is None or ended is None or scene.job.deleting:
        return draft
    due = ended + timedelta(seconds=limit)
    return draft.does(DeleteJob(uid=scene.job.uid)) if scene.now >= due else draft.wakes(due)
