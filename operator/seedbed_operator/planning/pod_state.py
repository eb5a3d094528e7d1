"""Whose a pod is and what state it is in: predicates that read as sentences."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_operator.backends.child_metadata import driver_name, worker_name
from seedbed_operator.job_observation import JobView, PodView

LOST_AFTER = timedelta(seconds=30)
"""So long after it should be gone, a pod is held to be lost with its node: only a kubelet can end it."""


def is_our_driver(pod: PodView, job: JobView) -> bool:
    """Tell whether a pod is the driver of one of the job's attempts."""
    named = pod.name == driver_name(job, pod.attempt)
    return pod.role == "driver" and pod.job_uid == job.uid and pod.owner_uid == job.uid and named


def is_worker_of(pod: PodView, driver: PodView, job: JobView) -> bool:
    """Tell whether a pod is a worker of a driver of ours."""
    named = pod.name == worker_name(job, pod.attempt, pod.index)
    same = pod.role == "worker" and pod.attempt == driver.attempt and pod.job_uid == job.uid
    return same and named and pod.owner_uid == driver.uid


def is_orphan(pod: PodView, job: JobView) -> bool:
    """Tell whether a pod was a worker of ours whose driver is gone: the garbage collector ends it, not we."""
    named = pod.name == worker_name(job, pod.attempt, pod.index)
    return pod.role == "worker" and pod.job_uid == job.uid and pod.owner_uid is not None and named


def is_of_older_job(pod: PodView, job: JobView) -> bool:
    """Tell whether a pod belongs to a deleted job of the same name: the garbage collector ends it."""
    named = pod.name in (driver_name(job, pod.attempt), worker_name(job, pod.attempt, pod.index))
    return pod.job_uid != job.uid and pod.owner_uid is not None and named


def is_orphaned_driver_of_older_job(pod: PodView, job: JobView) -> bool:
    """Tell whether a pod is the driver of a deleted job of the same name that nothing removes any more."""
    named = pod.name == driver_name(job, pod.attempt)
    return bool(pod.job_uid) and pod.job_uid != job.uid and pod.owner_uid is None and named


def is_overdue(pod: PodView, now: datetime) -> bool:
    """Tell whether a pod should have been gone for a while."""
    return pod.deletion_due is not None and now >= pod.deletion_due + LOST_AFTER


def has_ended(pod: PodView) -> bool:
    """Tell whether our container has ended; containers that others put into the pod may run for ever."""
    return pod.ended or pod.terminated is not None


def is_on_a_lost_node(pod: PodView) -> bool:
    """Tell whether the node of a pod was given up: it is deleted for a taint, and nobody says it is ready."""
    if pod.reason == "NodeLost":
        return True
    tainted = pod.deleting and pod.disruption == "DeletionByTaintManager"
    return tainted and not (pod.ready or has_ended(pod))


def is_lost(pod: PodView, now: datetime) -> bool:
    """Tell whether nothing will be heard of a pod any more, although its object is there."""
    silent = is_overdue(pod, now) and not has_ended(pod)
    return pod.phase == "Unknown" or is_on_a_lost_node(pod) or silent


def has_ended_or_is_lost(pod: PodView, now: datetime) -> bool:
    """Tell whether a pod works no longer, as far as anybody can know."""
    return has_ended(pod) or is_lost(pod, now)


def is_active(pod: PodView, now: datetime) -> bool:
    """Tell whether a pod works or will work."""
    return not pod.deleting and not has_ended_or_is_lost(pod, now)


def is_running(pod: PodView, now: datetime) -> bool:
    """Tell whether the container of a pod runs."""
    return pod.phase == "Running" and is_active(pod, now)
