"""Containers that others put into our pods: what ours waits for, and what failed in its place."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_operator.job_observation import InjectedContainer, PodView

FIX_BY_INJECTOR = "whoever puts it into pods (a mesh, a vault, a webhook) must mend it"
_TITLES = {"init": "init container", "sidecar": "sidecar", "beside": "container"}


def container_title(pod: PodView, container: InjectedContainer) -> str:
    """Return how a message names a container."""
    return f"{_TITLES[container.kind]} {container.name} of pod {pod.name}"


def describe_termination(container: InjectedContainer) -> str:
    """Return how a container ended, in words."""
    ended = container.terminated
    assert ended is not None, "asked of those that have ended"
    return f"ended with exit code {ended.exit_code}" + (f" ({ended.reason})" if ended.reason else "")


def describe_ended_container(pod: PodView, container: InjectedContainer) -> str:
    """Return which container ended and how, in words."""
    return f"{container_title(pod, container)} {describe_termination(container)}"


def never_started(pod: PodView) -> bool:
    """Tell whether our container has not begun."""
    return pod.started is None and pod.terminated is None


def blocking_container(pod: PodView) -> InjectedContainer | None:
    """Return what our container waits for: one before it that has begun, and is not done or not up."""
    before = (each for each in pod.injected_containers if each.kind != "beside" and not _is_done(each))
    first = next(before, None) if never_started(pod) else None
    return first if first is not None and (first.running or first.terminated is not None) else None


def _is_done(container: InjectedContainer) -> bool:
    if container.kind == "sidecar":
        return container.running and container.started
    return container.terminated is not None and container.terminated.exit_code == 0 and not container.running


def failed_before_start(pod: PodView) -> InjectedContainer | None:
    """Return the container whose failure ended a pod before our container began."""
    return (
        next(filter(_has_failed, pod.injected_containers), None) if pod.ended and never_started(pod) else None
    )


def failed_before_end(pod: PodView) -> InjectedContainer | None:
    """Return a container that had failed before our container ended, or while it runs."""
    end = pod.terminated.finished if pod.terminated else None
    for container in filter(_has_failed, pod.injected_containers):
        finished = container.terminated.finished if container.terminated else None
        if end is None or (finished is not None and finished < end):
            return container
    return None


def _has_failed(container: InjectedContainer) -> bool:
    return container.terminated is not None and container.terminated.exit_code != 0


def still_running_container(pod: PodView) -> InjectedContainer | None:
    """Return a container that runs although our container has ended."""
    over = pod.terminated is not None and not pod.ended
    return next((each for each in pod.injected_containers if each.running), None) if over else None


def describe_still_running(pods: Iterable[PodView]) -> str:
    """Return what to add where pods stay because of containers that are not ours."""
    held = ((pod, still_running_container(pod)) for pod in pods)
    named = [container_title(pod, container) for pod, container in held if container is not None]
    return f"; waiting for the end of {', '.join(named[:3])}, which runs on after ours" if named else ""


def has_output(pod: PodView) -> bool:
    """Tell whether our container, or what it waited for, has begun."""
    return (
        not never_started(pod) or failed_before_start(pod) is not None or blocking_container(pod) is not None
    )


def log_container(pod: PodView) -> str | None:
    """Return whose log tells why a pod failed; None where it has but one container."""
    culprit = failed_before_start(pod) or blocking_container(pod)
    if culprit is not None:
        return culprit.name
    return pod.role if pod.injected_containers else None


def pod_exit_code(pod: PodView) -> int | None:
    """Return the exit code with which a pod ended, be it of our container or of what it waited for."""
    if pod.terminated is not None:
        return pod.terminated.exit_code
    culprit = failed_before_start(pod) or blocking_container(pod)
    return culprit.terminated.exit_code if culprit is not None and culprit.terminated is not None else None
