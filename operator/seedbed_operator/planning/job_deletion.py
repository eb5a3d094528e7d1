"""Plan for a job that is being deleted: it waits for a finalizer or for its pods.

Its pods are deleted, driver first; the garbage collector would only start once the object is gone.
"""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_cleanup import delete_pods
from seedbed_operator.planning.sidecar_containers import describe_still_running

_FOREGROUND = "foregroundDeletion"
"""Set by `--cascade=foreground`."""
_ORPHAN = "orphan"
"""Set by `--cascade=orphan`: the pods are to stay."""


def orphans_its_pods(job: JobView) -> bool:
    """Return whether the pods of a deleted job are to stay or are left to the garbage collector."""
    return job.deleting and (_ORPHAN in job.finalizers or not job.finalizers)


def plan_job_deletion(context: JobContext, builder: PlanBuilder) -> PlanBuilder:
    """Delete the pods of a job that is being deleted, and report its finalizers."""
    builder = delete_pods(context, builder)
    left = context.remaining_pods()
    held = tuple(name for name in context.job.finalizers if name != _FOREGROUND)
    message = "the job is being deleted"
    if left:
        message += (
            f"; its pods end first: {', '.join(pod.name for pod in left[:3])}{describe_still_running(left)}"
        )
    if held:
        message += f"; it stays until the owners of its finalizers {', '.join(held[:3])} remove them"
    builder = builder.set_status(retry_time=None, workers=None if not left else builder.status.workers)
    waits = left or not held
    return (builder.set_waiting if waits else builder.set_stalled)(RunningReason.STOPPING, message)
