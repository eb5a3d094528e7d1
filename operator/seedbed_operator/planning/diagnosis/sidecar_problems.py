"""Our container waits for one that somebody else put into the pod, or works beside one that has failed."""

from __future__ import annotations

from collections.abc import Iterable

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import InjectedContainer, PodView
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.sidecar_containers import (
    NOT_OURS,
    ending,
    failed_before_it,
    title,
    unfinished,
)


def held_up_by_another(pods: Iterable[PodView]) -> Explanation | None:
    """Explain the first pod whose container waits for one that runs, or fails, before it."""
    for pod in pods:
        companion = unfinished(pod)
        if companion is not None:
            message = f"{title(pod, companion)} {_what_it_does(pod, companion)}; {_look(pod, companion)}"
            return Explanation(reason=RunningReason.CONTAINER_CREATING, message=message)
    return None


def beside_a_failed_one(pod: PodView | None) -> str:
    """Return what to add where a container beside ours has failed."""
    companion = failed_before_it(pod) if pod is not None else None
    if pod is None or companion is None:
        return ""
    return f"; {title(pod, companion)} {ending(companion)}: {_look(pod, companion)}"


def _what_it_does(pod: PodView, companion: InjectedContainer) -> str:
    if companion.terminated is not None and not companion.runs:
        return f"{ending(companion)} and is started again; the {pod.role} waits for it"
    if companion.kind == "sidecar":
        return f"runs and has not passed its startup probe; the {pod.role} waits for that"
    return f"runs; the {pod.role} begins when it has ended"


def _look(pod: PodView, companion: InjectedContainer) -> str:
    return f"see `kubectl logs {pod.name} -c {companion.name}`; {NOT_OURS}"
