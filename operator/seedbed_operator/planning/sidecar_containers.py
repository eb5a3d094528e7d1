"""Containers that others put into our pods: what ours waits for, and what failed in its place."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_operator.job_observation import InjectedContainer, PodView

NOT_OURS = "whoever puts it into pods (a mesh, a vault, a webhook) must mend it"
_TITLES = {"init": "init container", "sidecar": "sidecar", "beside": "container"}


def title(pod: PodView, companion: InjectedContainer) -> str:
    """Return how a message names a companion."""
    return f"{_TITLES[companion.kind]} {companion.name} of pod {pod.name}"


def ending(companion: InjectedContainer) -> str:
    """Return how a companion ended, in words."""
    ended = companion.terminated
    assert ended is not None, "asked of those that have ended"
    return f"ended with exit code {ended.exit_code}" + (f" ({ended.reason})" if ended.reason else "")


def never_began(pod: PodView) -> bool:
    """Tell whether our container has not begun."""
    return pod.started is None and pod.terminated is None


def unfinished(pod: PodView) -> InjectedContainer | None:
    """Return what our container waits for: one before it that has begun, and is not done or not up."""
    before = (each for each in pod.injected_containers if each.kind != "beside" and not _is_done(each))
    first = next(before, None) if never_began(pod) else None
    return first if first is not None and (first.runs or first.terminated is not None) else None


def _is_done(companion: InjectedContainer) -> bool:
    if companion.kind == "sidecar":
        return companion.runs and companion.started
    return companion.terminated is not None and companion.terminated.exit_code == 0 and not companion.runs


def failed_in_its_place(pod: PodView) -> InjectedContainer | None:
    """Return the companion whose failure ended a pod before our container began."""
    return (
        next(filter(_has_failed, pod.injected_containers), None) if pod.ended and never_began(pod) else None
    )


def failed_before_it(pod: PodView) -> InjectedContainer | None:
    """Return a companion that had failed before our container ended, or while it runs."""
    end = pod.terminated.finished if pod.terminated else None
    for companion in filter(_has_failed, pod.injected_containers):
        finished = companion.terminated.finished if companion.terminated else None
        if end is None or (finished is not None and finished < end):
            return companion
    return None


def _has_failed(companion: InjectedContainer) -> bool:
    return companion.terminated is not None and companion.terminated.exit_code != 0


def outliving(pod: PodView) -> InjectedContainer | None:
    """Return a companion that runs although our container has ended."""
    over = pod.terminated is not None and not pod.ended
    return next((each for each in pod.injected_containers if each.runs), None) if over else None


def what_runs_on(pods: Iterable[PodView]) -> str:
    """Return what to add where pods stay because of containers that are not ours."""
    held = ((pod, outliving(pod)) for pod in pods)
    named = [title(pod, companion) for pod, companion in held if companion is not None]
    return f"; waiting for the end of {', '.join(named[:3])}, which runs on after ours" if named else ""


def has_said_something(pod: PodView) -> bool:
    """Tell whether our container, or what it waited for, has begun."""
    return not never_began(pod) or failed_in_its_place(pod) is not None or unfinished(pod) is not None


def container_to_read(pod: PodView) -> str | None:
    """Return whose log tells why a pod failed; None where it has but one container."""
    culprit = failed_in_its_place(pod) or unfinished(pod)
    if culprit is not None:
        return culprit.name
    return pod.role if pod.injected_containers else None


def exit_code_of(pod: PodView) -> int | None:
    """Return the exit code with which a pod ended, be it of our container or of what it waited for."""
    if pod.terminated is not None:
        return pod.terminated.exit_code
    culprit = failed_in_its_place(pod) or unfinished(pod)
    return culprit.terminated.exit_code if culprit is not None and culprit.terminated is not None else None
