"""A job that is being deleted and is still there: another's finalizer holds it, or it waits for its pods.

Its pods stop, driver first. The garbage collector would end them only once the object is gone.
"""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_cleanup import cleared
from seedbed_operator.planning.sidecar_containers import what_runs_on

_FOREGROUND = "foregroundDeletion"
"""The garbage collector's, while it waits for the pods (`--cascade=foreground`)."""
_ORPHAN = "orphan"
"""The garbage collector's, while it takes the owner off the pods, which are to stay (`--cascade=orphan`)."""


def leaves_its_pods(job: JobView) -> bool:
    """Tell whether a job is going whose pods are none of our business: kept, or the garbage collector's."""
    return job.deleting and (_ORPHAN in job.finalizers or not job.finalizers)


def deleted(scene: Scene, draft: PlanBuilder) -> PlanBuilder:
    """Stop the pods of a job that is being deleted, and say what holds it."""
    draft = cleared(scene, draft)
    left = scene.remaining()
    held = tuple(name for name in scene.job.finalizers if name != _FOREGROUND)
    message = "the job is being deleted"
    if left:
        message += f"; its pods stop first: {', '.join(pod.name for pod in left[:3])}{what_runs_on(left)}"
    if held:
        message += f"; it stays until whoever set its finalizers {', '.join(held[:3])} removes them"
    draft = draft.tells(retry_time=None, workers=None if not left else draft.status.workers)
    waits = left or not held
    return (draft.waits if waits else draft.stalls)(RunningReason.STOPPING, message)
