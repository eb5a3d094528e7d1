"""Diagnose missing Secrets, claims and volumes of scheduled pods, from the kubelet's events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.backends.child_metadata import OWNER_SECRET_NAME
from seedbed_operator.job_observation import Evidence, PodEvent, PodView
from seedbed_operator.planning.diagnosis import Diagnosis

_MOUNTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_SECRET = re.compile(r'secrets? "([^"]+)" not found', re.IGNORECASE)
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)


def diagnose_missing_secret(name: str) -> Diagnosis:
    """Diagnose a missing Secret."""
    if name.rpartition("/")[2] == OWNER_SECRET_NAME:
        return _diagnose_missing_owner_key()
    message = f"Secret {name.rpartition('/')[2]} does not exist; create it in the namespace of the job"
    return Diagnosis(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def diagnose_missing_token(name: str) -> Diagnosis:
    """Diagnose a deleted Secret of the Ray token."""
    message = (
        f"Secret {name} with the job's Ray token does not exist: it was deleted, or is being created; "
        "if it was deleted, the attempt ends and the next one creates it again"
    )
    return Diagnosis(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def lacks_owner_key(pods: Iterable[PodView], evidence: Evidence) -> bool:
    """Return whether a pod cannot mount the key of its namespace."""
    notices = (notice for pod in pods for notice in evidence.pod_events.get(pod.uid, ()))
    return any(_missing_secret(notice) == OWNER_SECRET_NAME for notice in notices)


def diagnose_volumes(pods: Iterable[PodView], evidence: Evidence) -> Diagnosis | None:
    """Diagnose the first pod whose volumes or sandbox are not available."""
    for pod in pods:
        for notice in reversed(evidence.pod_events.get(pod.uid, ())):
            if explanation := _diagnose_event(pod, notice):
                return explanation
    return None


def diagnose_slow_start(pods: Iterable[PodView]) -> Diagnosis | None:
    """Report a scheduled pod that prepares its container."""
    pod = next(iter(pods), None)
    if pod is None:
        return None
    message = f"pod {pod.name} on node {pod.node}: its image is pulled and its volumes are mounted"
    return Diagnosis(reason=RunningReason.CONTAINER_CREATING, message=message)


def _diagnose_event(pod: PodView, notice: PodEvent) -> Diagnosis | None:
    if notice.reason == "FailedCreatePodSandBox":
        message = (
            f"pod {pod.name}: node {pod.node} cannot create its sandbox; "
            "check the node's network plugin and container runtime"
        )
        return Diagnosis(reason=RunningReason.CONTAINER_CREATING, message=message)
    if notice.reason not in _MOUNTS:
        return None
    if secret := _missing_secret(notice):
        return diagnose_missing_secret(secret)
    if missing := _CLAIM.search(notice.message):
        message = f"PersistentVolumeClaim {missing[1]} does not exist; create it in the namespace of the job"
        return Diagnosis(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    message = f"pod {pod.name}: a volume is not available: {notice.message}"
    return Diagnosis(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)


def _missing_secret(notice: PodEvent) -> str | None:
    """Return the name of the Secret that a mount lacks."""
    missing = _SECRET.search(notice.message) if notice.reason in _MOUNTS else None
    return missing[1].rpartition("/")[2] if missing else None


def _diagnose_missing_owner_key() -> Diagnosis:
    """Diagnose a deleted Secret of the namespace's key."""
    message = (
        f"Secret {OWNER_SECRET_NAME} of the namespace was deleted; it is created again with a new key, "
        "so what jobs wrote before counts as somebody else's"
    )
    return Diagnosis(reason=RunningReason.SECRET_NOT_FOUND, message=message)
