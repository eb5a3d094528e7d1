"""Injected containers of our pods: which one blocks ours, failed before it, or still runs after it."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_operator.job_observation import InjectedContainer, PodView

FIX_BY_INJECTOR = "fix it where it is injected (service mesh, vault agent, admission webhook)"
_TITLES = {"init": "init container", "sidecar": "sidecar", "beside": "container"}


def container_title(pod: PodView, container: InjectedContainer) -> str:
    """Return the name of a container in messages."""
    return f"{_TITLES[container.kind]} {container.name} of pod {pod.name}"


def describe_termination(container: InjectedContainer) -> str:
    """Describe how a container ended."""
    ended = container.terminated
    assert ended is not None, "called for ended containers only"
    return f"ended with exit code {ended.exit_code}" + (f" ({ended.reason})" if ended.reason else "")


def describe_ended_container(pod: PodView, container: InjectedContainer) -> str:
    """Describe which container ended and how."""
    return f"{container_title(pod, container)} {describe_termination(container)}"


def never_started(pod: PodView) -> bool:
    """Return whether our container has never started."""
    return pod.started is None and pod.terminated is None


def blocking_container(pod: PodView) -> InjectedContainer | None:
    """Return the container that ours waits for: started before it, and not done or not ready."""
    before = (each for each in pod.injected_containers if each.kind != "beside" and not _is_done(each))
    first = next(before, None) if never_started(pod) else None
    return first if first is not None and (first.running or first.terminated is not None) else None


def _is_done(container: InjectedContainer) -> bool:
    if container.kind == "sidecar":
        return container.running and container.started
    return container.terminated is not None and container.terminated.exit_code == 0 and not container.running


def failed_before_start(pod: PodView) -> InjectedContainer | None:
    """Return the container whose failure ended a pod before ours started."""
    return (
        next(filter(_has_failed, pod.injected_containers), None) if pod.ended and never_started(pod) else None
    )


def failed_before_end(pod: PodView) -> InjectedContainer | None:
    """Return a container that failed before ours ended."""
    end = pod.terminated.finished if pod.terminated else None
    for container in filter(_has_failed, pod.injected_containers):
        finished = container.terminated.finished if container.terminated else None
        if end is None or (finished is not None and finished < end):
            return container
    return None


def _has_failed(container: InjectedContainer) -> bool:
    return container.terminated is not None and container.terminated.exit_code != 0


def still_running_container(pod: PodView) -> InjectedContainer | None:
    """Return a container that still runs after ours has ended."""
    over = pod.terminated is not None and not pod.ended
    return next((each for each in pod.injected_containers if each.running), None) if over else None


def describe_still_running(pods: Iterable[PodView]) -> str:
    """Return a note on injected containers that keep pods from ending."""
    held = ((pod, still_running_container(pod)) for pod in pods)
    named = [container_title(pod, container) for pod, container in held if container is not None]
    return f"; waiting for {', '.join(named[:3])}, which still runs after ours" if named else ""


def has_output(pod: PodView) -> bool:
    """Return whether our container, or the one it waits for, has a log."""
    return (
        not never_started(pod) or failed_before_start(pod) is not None or blocking_container(pod) is not None
    )


def log_container(pod: PodView) -> str | None:
    """Return the container whose log explains the failure; None where there is only one."""
    culprit = failed_before_start(pod) or blocking_container(pod)
    if culprit is not None:
        return culprit.name
    return pod.role if pod.injected_containers else None


def pod_exit_code(pod: PodView) -> int | None:
    """Return the exit code of our container, or of the container that failed before it."""
    if pod.terminated is not None:
        return pod.terminated.exit_code
    culprit = failed_before_start(pod) or blocking_container(pod)
    return culprit.terminated.exit_code if culprit is not None and culprit.terminated is not None else None
