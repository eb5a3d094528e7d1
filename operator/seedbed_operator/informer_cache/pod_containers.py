"""The containers of a pod: ours, and its companions, which a mesh, a vault or another webhook put there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, Final

from seedbed_operator.job_observation import (
    ContainerTerminated,
    ContainerWaiting,
    InjectedContainer,
    InjectedContainerKind,
)
from seedbed_operator.kube_client.client_interface import RawObject

_NOT_A_CAUSE: Final = frozenset({"", "PodInitializing", "ContainerCreating"})
"""Reasons for which a container waits that another one, or a volume, explains."""


def container_status(status: RawObject, role: str) -> RawObject:
    """Return the status of our container, which bears the name of its role."""
    return next((each for each in _entries(status, "containerStatuses") if each.get("name") == role), {})


def injected_containers(spec: RawObject, status: RawObject, role: str) -> tuple[InjectedContainer, ...]:
    """Return the containers that are not ours, those that begin before ours first."""
    before = tuple(_entries(status, "initContainerStatuses"))
    beside = (each for each in _entries(status, "containerStatuses") if each.get("name") != role)
    if not before and len(status.get("containerStatuses") or ()) < 2:
        return ()
    sidecars = {
        each.get("name") for each in spec.get("initContainers") or () if each.get("restartPolicy") == "Always"
    }
    first = (
        _injected_container("sidecar" if each.get("name") in sidecars else "init", each) for each in before
    )
    return (*first, *(_injected_container("beside", each) for each in beside))


def waiting_cause(state: RawObject, others: Iterable[InjectedContainer]) -> ContainerWaiting | None:
    """Return why our container, or one that keeps it from starting, does not start."""
    own = waiting_state(state)
    if own is not None and own.reason not in _NOT_A_CAUSE:
        return own
    causes = (each.waiting for each in others if each.waiting is not None)
    return next((cause for cause in causes if cause.reason not in _NOT_A_CAUSE), own)


def waiting_state(state: RawObject, container: str = "", image: str = "") -> ContainerWaiting | None:
    """Return for what a container in a state waits."""
    told = state.get("waiting")
    if not told:
        return None
    reason, message = str(told.get("reason") or ""), str(told.get("message") or "")
    return ContainerWaiting(reason=reason, message=message, container=container, image=image)


def terminated_state(state: RawObject) -> ContainerTerminated | None:
    """Return how a container in a state has ended."""
    told = state.get("terminated")
    if not told:
        return None
    return ContainerTerminated(
        exit_code=int(told.get("exitCode", 0)),
        reason=str(told.get("reason") or ""),
        message=str(told.get("message") or ""),
        started=parse_time(told.get("startedAt")),
        finished=parse_time(told.get("finishedAt")),
    )


def parse_time(text: Any) -> datetime | None:
    """Return a moment as the API server writes it."""
    return datetime.fromisoformat(text) if text else None


def _entries(status: RawObject, name: str) -> Iterator[RawObject]:
    yield from status.get(name) or ()


def _injected_container(kind: InjectedContainerKind, status: RawObject) -> InjectedContainer:
    name, image = str(status.get("name") or ""), str(status.get("image") or "")
    state, last = status.get("state") or {}, status.get("lastState") or {}
    return InjectedContainer(
        name=name,
        kind=kind,
        waiting=waiting_state(state, name, image),
        terminated=terminated_state(state) or terminated_state(last),
        running="running" in state,
        started=bool(status.get("started")),
        restarts=int(status.get("restartCount") or 0),
    )
