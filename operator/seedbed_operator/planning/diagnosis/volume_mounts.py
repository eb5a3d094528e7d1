"""Pods that have a node and do not start: Secrets, claims and volumes, from the kubelet's events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import Evidence, PodEvent, PodView
from seedbed_operator.planning.diagnosis import Diagnosis

_MOUNTS = frozenset({"FailedMount", "FailedAttachVolume", "FailedMapVolume"})
_SECRET = re.compile(r'secrets? "([^"]+)" not found', re.IGNORECASE)
_CLAIM = re.compile(r'persistentvolumeclaim "([^"]+)" not found', re.IGNORECASE)


def diagnose_missing_secret(name: str) -> Diagnosis:
    """Explain a Secret that is not there."""
    message = f"Secret {name.rpartition('/')[2]} is not there; create it in the namespace of the job"
    return Diagnosis(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def diagnose_missing_token(name: str) -> Diagnosis:
    """Explain that the Secret with the job's Ray token was deleted."""
    message = (
        f"Secret {name} is not there: it held the job's Ray token and somebody deleted it; "
        "unless it was made just now, the attempt ends and the next one makes it anew"
    )
    return Diagnosis(reason=RunningReason.SECRET_NOT_FOUND, message=message)


def diagnose_volumes(pods: Iterable[PodView], evidence: Evidence) -> Diagnosis | None:
    """Explain the first pod whose volumes or sandbox are not to be had."""
    for pod in pods:
        for notice in reversed(evidence.pod_events.get(pod.uid, ())):
            if explanation := _diagnose_event(pod, notice):
                return explanation
    return None


def diagnose_slow_start(pods: Iterable[PodView]) -> Diagnosis | None:
    """Say that a pod has a node and prepares its container."""
    pod = next(iter(pods), None)
    if pod is None:
        return None
    message = f"pod {pod.name} on node {pod.node}: its image is pulled and its volumes are mounted"
    return Diagnosis(reason=RunningReason.CONTAINER_CREATING, message=message)


def _diagnose_event(pod: PodView, notice: PodEvent) -> Diagnosis | None:
    if notice.reason == "FailedCreatePodSandBox":
        message = (
            f"pod {pod.name}: node {pod.node} cannot prepare it; the node's network or runtime is at fault"
        )
        return Diagnosis(reason=RunningReason.CONTAINER_CREATING, message=message)
    if notice.reason not in _MOUNTS:
        return None
    if missing := _SECRET.search(notice.message):
        return diagnose_missing_secret(missing[1])
    if missing := _CLAIM.search(notice.message):
        message = f"PersistentVolumeClaim {missing[1]} is not there; create it in the namespace of the job"
        return Diagnosis(reason=RunningReason.CLAIM_NOT_FOUND, message=message)
    message = f"pod {pod.name}: a volume is not to be had: {notice.message}"
    return Diagnosis(reason=RunningReason.VOLUME_UNAVAILABLE, message=message)
