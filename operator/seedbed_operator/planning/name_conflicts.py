"""Find pods of other objects whose names the next attempt needs; they are never touched."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import driver_name
from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.diagnosis.api_rejections import diagnose_name_conflict
from seedbed_operator.planning.job_context import JobContext, orphaned_pods_of_older_jobs, pods_of_older_jobs


def find_name_conflict(context: JobContext) -> Diagnosis | None:
    """Return which pods block the next attempt; none is touched."""
    if kept := orphaned_pods_of_older_jobs(context):
        return _orphaned_pods_conflict(context, kept)
    if older := pods_of_older_jobs(context):
        names = ", ".join(pod.name for pod in older[:3])
        message = (
            f"waiting for pods of a deleted job of this name to end: {names}; "
            "a pod that stays has a finalizer or is on a lost node"
        )
        return Diagnosis(reason=RunningReason.TERMINATING_OLD_PODS, message=message)
    wanted = driver_name(context.job, context.attempt + 1)
    pods = (*context.foreign_pods, *context.orphans)
    if any(pod.name == wanted for pod in pods):
        return diagnose_name_conflict("Pod", wanted)
    return None


def _orphaned_pods_conflict(context: JobContext, kept: tuple[PodView, ...]) -> Diagnosis:
    """Return the conflict with orphaned pods; workers are deleted with their driver."""
    drivers = [pod.name for pod in kept if pod.role == "driver"]
    message = (
        "a deleted job of this name left its pods (--cascade=orphan), and nothing deletes them: "
        f"if they are not needed, `kubectl delete pod -n {context.job.namespace} "
        f"{' '.join(drivers)}` "
        f"deletes {', '.join(pod.name for pod in kept[:6])}{' …' if len(kept) > 6 else ''}; "
        "or create this job under another name"
    )
    return Diagnosis(reason=RunningReason.NAME_CONFLICT, message=message)
