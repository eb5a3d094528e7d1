"""Pods that have a node and do not start: Secrets, claims and volumes, from the kubelet's events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import Evidence, PodEvent, PodView
from seedbed_operator.planning.diagnosis import Explanation

_MOUNTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_SECRET = re.compile(r'secrets? "([^"]+)" not found', re.IGNORECASE)
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)


def missing_secret(name: str) -> Explanation:
    """Explain a Secret that is not there."""
    message = f"Secret {name.rpartition('/')[2]} is not there; create it in the namespace of the job"
    return Explanation(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def missing_token(name: str) -> Explanation:
    """Explain that the Secret with the job's Ray token was deleted."""
    message = (
        f"Secret {name} is not there: it held the job's Ray token and somebody deleted it; "
        "unless it was made just now, the attempt ends and the next one makes it anew"
    )
    return Explanation(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def without_a_volume(pods: Iterable[PodView], evidence: Evidence) -> Explanation | None:
    """Explain the first pod whose volumes or sandbox are not to be had."""
    for pod in pods:
        for notice in reversed(evidence.pod_events.get(pod.uid, ())):
            if explanation := _of(pod, notice):
                return explanation
    return None


def starts_slowly(pods: Iterable[PodView]) -> Explanation | None:
    """Say that a pod has a node and prepares its container."""
    pod = next(iter(pods), None)
    if pod is None:
        return None
    message = f"pod {pod.name} on node {pod.node}: its image is pulled and its volumes are mounted"
    return Explanation(reason=RunningReason.CONTAINER_CREATING, message=message)


def _of(pod: PodView, notice: PodEvent) -> Explanation | None:
    if notice.reason == "FailedCreatePodSandBox":
        message = (
            f"pod {pod.name}: node {pod.node} cannot prepare it; the node's network or runtime is at fault"
        )
        return Explanation(reason=RunningReason.CONTAINER_CREATING, message=message)
    if notice.reason not in _MOUNTS:
        return None
    if missing := _SECRET.search(notice.message):
        return missing_secret(missing[1])
    if missing := _CLAIM.search(notice.message):
        message = f"PersistentVolumeClaim {missing[1]} is not there; create it in the namespace of the job"
        return Explanation(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    message = f"pod {pod.name}: a volume is not to be had: {notice.message}"
    return Explanation(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)
