"""Names that an attempt needs and another's pod bears: an older object's go by themselves, others stay."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import driver_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.api_rejections import diagnose_name_conflict
from seedbed_operator.planning.job_context import JobContext, orphaned_pods_of_older_jobs, pods_of_older_jobs


def find_name_conflict(context: JobContext) -> Diagnosis | None:
    """Return which pod has to go before the next attempt can begin; none is touched."""
    if kept := orphaned_pods_of_older_jobs(context):
        return _orphaned_pods_conflict(context, kept)
    if older := pods_of_older_jobs(context):
        names = ", ".join(pod.name for pod in older[:3])
        message = (
            f"waiting for pods of a deleted job of this name to be gone: {names}; "
            "one that stays is held by a finalizer or by a lost node"
        )
        return Diagnosis(reason=RunningReason.TERMINATING_OLD_PODS, message=message)
    wanted = driver_name(context.job, context.attempt + 1)
    pods = (*context.foreign_pods, *context.orphans)
    if any(pod.name == wanted for pod in pods):
        return diagnose_name_conflict("Pod", wanted)
    return None


def _orphaned_pods_conflict(context: JobContext, kept: tuple[PodView, ...]) -> Diagnosis:
    """Name the pods that somebody wanted to keep; workers go with the driver that owns them."""
    drivers = [pod.name for pod in kept if pod.role == "driver"]
    message = (
        "a deleted job of this name has left its pods behind (--cascade=orphan), and nothing removes them: "
        f"when they are no longer wanted, `kubectl delete pod -n {context.job.namespace} "
        f"{' '.join(drivers)}` "
        f"removes {', '.join(pod.name for pod in kept[:6])}{' …' if len(kept) > 6 else ''}; "
        "or create this job under another name"
    )
    return Diagnosis(reason=RunningReason.NAME_CONFLICT, message=message)
