"""Diagnose injected containers that block ours, or that failed beside it."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import InjectedContainer, PodView
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.sidecar_containers import (
    FIX_BY_INJECTOR,
    blocking_container,
    container_title,
    describe_ended_container,
    describe_termination,
    failed_before_end,
)


def diagnose_blocking_container(pods: Iterable[PodView]) -> Diagnosis | None:
    """Diagnose the first pod whose container waits for an injected one."""
    for pod in pods:
        container = blocking_container(pod)
        if container is not None:
            what = f"{container_title(pod, container)} {_describe_blocking(pod, container)}"
            message = f"{what}; {_kubectl_hint(pod, container)}"
            return Diagnosis(reason=RunningReason.CONTAINER_CREATING, message=message)
    return None


def describe_failed_container(pod: PodView | None) -> str:
    """Return a note on a failed container beside ours."""
    container = failed_before_end(pod) if pod is not None else None
    if pod is None or container is None:
        return ""
    return f"; {describe_ended_container(pod, container)}: {_kubectl_hint(pod, container)}"


def _describe_blocking(pod: PodView, container: InjectedContainer) -> str:
    if container.terminated is not None and not container.running:
        return f"{describe_termination(container)} and is restarted; the {pod.role} waits for it"
    if container.kind == "sidecar":
        return f"runs and has not passed its startup probe; the {pod.role} waits for it"
    return f"runs; the {pod.role} starts when it has ended"


def _kubectl_hint(pod: PodView, container: InjectedContainer) -> str:
    return f"see `kubectl logs {pod.name} -c {container.name}`; {FIX_BY_INJECTOR}"
