"""Diagnose image pulls and container creation, from the kubelet's waiting states and events."""

from __future__ import annotations

import re
from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import ContainerWaiting, Evidence, PodView
from seedbed_operator.planning.diagnosis import NEXT_ATTEMPT, Diagnosis
from seedbed_operator.planning.diagnosis.volume_mounts import diagnose_missing_secret, diagnose_missing_token
from seedbed_operator.planning.sidecar_containers import FIX_BY_INJECTOR

_PULLING = frozenset({"ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "RegistryUnavailable"})
_INVALID = frozenset({"InvalidImageName", "ErrInvalidImageName", "ImageInspectError"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})
_CAUSES = (
    (r"never", "it is not on the node, and imagePullPolicy of the profile is Never"),
    (
        r"no match for platform|exec format|manifest.*platform",
        "it does not support this platform: choose other nodes or another image",
    ),
    (
        r"unauthorized|denied|forbidden|no basic auth|authentication|401|403",
        "the registry requires credentials: name a Secret in imagePullSecrets of the profile",
    ),
    (
        r"not ?found|manifest unknown|name unknown|404|does not exist",
        "the image does not exist: correct it in the profile or in spec.cluster.overrides.image",
    ),
    (
        r"time-?out|no such host|connection refused|i/o|unavailable|dial |lookup |tls|x509|network",
        "the registry does not respond: check its name, the network and its certificate",
    ),
)
_SECRET = re.compile(r'secret "([^"]+)" not found', re.IGNORECASE)
_PULL_SECRET = re.compile(r"pull secrets \(([^)]*)\)")


def diagnose_image(pods: Iterable[PodView], evidence: Evidence, image: str) -> Diagnosis | None:
    """Diagnose the first container whose image is missing."""
    for pod, waiting in _waiting(pods):
        if waiting.reason in _PULLING:
            return _diagnose_pull_secret(pod, evidence) or _diagnose_image_pull(pod, waiting, evidence, image)
        if waiting.reason in _INVALID:
            message = f"pod {pod.name}: {_name_image(waiting, image)} cannot be used ({waiting.message})"
            fix = FIX_BY_INJECTOR if waiting.container else f"correct it; {NEXT_ATTEMPT}"
            return Diagnosis(reason=RunningReason.IMAGE_INVALID, message=f"{message}; {fix}")
    return None


def diagnose_container(pods: Iterable[PodView], token: str = "") -> Diagnosis | None:
    """Diagnose the first container that the kubelet cannot create; `token` is the Ray token Secret."""
    for pod, waiting in _waiting(pods):
        if waiting.reason in _CONFIG:
            if missing := missing_secret_name(waiting):
                return diagnose_missing_token(token) if missing == token else diagnose_missing_secret(missing)
            named = f"container {waiting.container}" if waiting.container else "the container"
            message = f"pod {pod.name}: {named} cannot be created: {waiting.message or waiting.reason}"
            message += f"; {FIX_BY_INJECTOR}" if waiting.container else ""
            return Diagnosis(reason=RunningReason.CONTAINER_CONFIG_ERROR, message=message)
    return None


def missing_secret_name(waiting: ContainerWaiting) -> str | None:
    """Return the Secret that is missing for a container."""
    missing = _SECRET.search(waiting.message) if waiting.reason in _CONFIG else None
    return missing[1] if missing else None


def is_pulling_image(waiting: ContainerWaiting | None) -> bool:
    """Return whether events of a pod can explain a failed image pull."""
    return waiting is not None and waiting.reason in _PULLING


def _waiting(pods: Iterable[PodView]) -> list[tuple[PodView, ContainerWaiting]]:
    return [(pod, pod.waiting) for pod in pods if pod.waiting is not None and not pod.deleting]


def _diagnose_image_pull(
    pod: PodView, waiting: ContainerWaiting, evidence: Evidence, image: str
) -> Diagnosis:
    """Name the cause; the kubelet often reports it only in events."""
    failures = [
        notice.message for notice in evidence.pod_events.get(pod.uid, ()) if notice.reason == "Failed"
    ]
    text = " ".join((waiting.message, waiting.reason, *failures))
    text = text.replace(waiting.image, "") if waiting.image else text  # its name is no cause
    cause = next((cause for pattern, cause in _CAUSES if re.search(pattern, text, re.IGNORECASE)), None)
    why = cause or "the kubelet reports no cause"
    message = f"pod {pod.name}: {_name_image(waiting, image)} cannot be pulled: {why}"
    fix = FIX_BY_INJECTOR if waiting.container else NEXT_ATTEMPT
    return Diagnosis(reason=RunningReason.IMAGE_PULL_FAILED, message=f"{message}; {fix}")


def _name_image(waiting: ContainerWaiting, image: str) -> str:
    """Describe an image: the attempt's, or that of an injected container."""
    return (
        f"image {waiting.image} of container {waiting.container}" if waiting.container else f"image {image}"
    )


def _diagnose_pull_secret(pod: PodView, evidence: Evidence) -> Diagnosis | None:
    for notice in evidence.pod_events.get(pod.uid, ()):
        if notice.reason == "FailedToRetrieveImagePullSecret":
            named = _PULL_SECRET.search(notice.message)
            return diagnose_missing_secret(named[1] if named else "in imagePullSecrets")
    return None
