"""A job that is being deleted and is still there: another's finalizer holds it, or it waits for its pods.

Its pods stop, driver first. The garbage collector would end them only once the object is gone.
"""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_cleanup import delete_pods
from seedbed_operator.planning.sidecar_containers import describe_still_running

_FOREGROUND = "foregroundDeletion"
"""The garbage collector's, while it waits for the pods (`--cascade=foreground`)."""
_ORPHAN = "orphan"
"""The garbage collector's, while it takes the owner off the pods, which are to stay (`--cascade=orphan`)."""


def orphans_its_pods(job: JobView) -> bool:
    """Tell whether a job is going whose pods are none of our business: kept, or the garbage collector's."""
    return job.deleting and (_ORPHAN in job.finalizers or not job.finalizers)


def plan_job_deletion(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Stop the pods of a job that is being deleted, and say what holds it."""
    builder = delete_pods(context, builder)
    left = context.remaining_pods()
    held = tuple(name for name in context.job.finalizers if name != _FOREGROUND)
    message = "the job is being deleted"
    if left:
        message += (
            f"; its pods stop first: {', '.join(pod.name for pod in left[:3])}{describe_still_running(left)}"
        )
    if held:
        message += f"; it stays until whoever set its finalizers {', '.join(held[:3])} removes them"
    builder = builder.set_status(retry_time=None, workers=None if not left else builder.status.workers)
    waits = left or not held
    return (builder.set_waiting if waits else builder.set_stalled)(RunningReason.STOPPING, message)
