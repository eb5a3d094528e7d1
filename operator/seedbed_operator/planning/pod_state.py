"""Predicates on pods: owner, ended, lost, active, running."""

from __future__ import annotations

from datetime import datetime, timedelta

from seedbed_operator.backends.child_metadata import driver_name, worker_name
from seedbed_operator.job_observation import JobView, PodView

LOST_AFTER = timedelta(seconds=30)
"""A pod that exists this long after its grace period counts as lost with its node."""


def is_our_driver(pod: PodView, job: JobView) -> bool:
    """Return whether a pod is the driver of one of the job's attempts."""
    named = pod.name == driver_name(job, pod.attempt)
    return pod.role == "driver" and pod.job_uid == job.uid and pod.owner_uid == job.uid and named


def is_worker_of(pod: PodView, driver: PodView, job: JobView) -> bool:
    """Return whether a pod is a worker of one of the job's drivers."""
    named = pod.name == worker_name(job, pod.attempt, pod.index)
    same = pod.role == "worker" and pod.attempt == driver.attempt and pod.job_uid == job.uid
    return same and named and pod.owner_uid == driver.uid


def is_orphan(pod: PodView, job: JobView) -> bool:
    """Return whether a pod is a worker whose driver no longer exists; the garbage collector deletes it."""
    named = pod.name == worker_name(job, pod.attempt, pod.index)
    return pod.role == "worker" and pod.job_uid == job.uid and pod.owner_uid is not None and named


def is_of_older_job(pod: PodView, job: JobView) -> bool:
    """Return whether a pod belongs to a deleted job of the same name; the garbage collector deletes it."""
    named = pod.name in (driver_name(job, pod.attempt), worker_name(job, pod.attempt, pod.index))
    return pod.job_uid != job.uid and pod.owner_uid is not None and named


def is_orphaned_driver_of_older_job(pod: PodView, job: JobView) -> bool:
    """Return whether a pod is the orphaned driver of a deleted job of the same name."""
    named = pod.name == driver_name(job, pod.attempt)
    return bool(pod.job_uid) and pod.job_uid != job.uid and pod.owner_uid is None and named


def is_overdue(pod: PodView, now: datetime) -> bool:
    """Return whether a pod exists long after its grace period."""
    return pod.deletion_due is not None and now >= pod.deletion_due + LOST_AFTER


def has_ended(pod: PodView) -> bool:
    """Return whether our container has ended; injected containers may still run."""
    return pod.ended or pod.terminated is not None


def is_on_a_lost_node(pod: PodView) -> bool:
    """Return whether the node of a pod is lost: the taint manager deletes the pod, and it is not ready."""
    if pod.reason == "NodeLost":
        return True
    tainted = pod.deleting and pod.disruption == "DeletionByTaintManager"
    return tainted and not (pod.ready or has_ended(pod))


def is_lost(pod: PodView, now: datetime) -> bool:
    """Return whether a pod is lost with its node although its object exists."""
    silent = is_overdue(pod, now) and not has_ended(pod)
    return pod.phase == "Unknown" or is_on_a_lost_node(pod) or silent


def has_ended_or_is_lost(pod: PodView, now: datetime) -> bool:
    """Return whether a pod has ended or is lost."""
    return has_ended(pod) or is_lost(pod, now)


def is_active(pod: PodView, now: datetime) -> bool:
    """Return whether a pod runs or will run."""
    return not pod.deleting and not has_ended_or_is_lost(pod, now)


def is_running(pod: PodView, now: datetime) -> bool:
    """Return whether our container of a pod runs."""
    return pod.phase == "Running" and is_active(pod, now)
