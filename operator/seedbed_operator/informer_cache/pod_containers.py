"""Container statuses of a pod: our own, and those injected by a service mesh, a vault agent or a webhook."""

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
"""Waiting reasons whose cause is another container or a volume."""


def container_status(status: RawObject, role: str) -> RawObject:
    """Return the status of our container, which is named after its role."""
    return next((each for each in _entries(status, "containerStatuses") if each.get("name") == role), {})


def injected_containers(spec: RawObject, status: RawObject, role: str) -> tuple[InjectedContainer, ...]:
    """Return the injected containers, init containers and sidecars first."""
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
    """Return why our container, or one that it waits for, does not start."""
    own = waiting_state(state)
    if own is not None and own.reason not in _NOT_A_CAUSE:
        return own
    causes = (each.waiting for each in others if each.waiting is not None)
    return next((cause for cause in causes if cause.reason not in _NOT_A_CAUSE), own)


def waiting_state(state: RawObject, container: str = "", image: str = "") -> ContainerWaiting | None:
    """Return the waiting state of a container; None where it does not wait."""
    state_fields = state.get("waiting")
    if not state_fields:
        return None
    reason, message = str(state_fields.get("reason") or ""), str(state_fields.get("message") or "")
    return ContainerWaiting(reason=reason, message=message, container=container, image=image)


def terminated_state(state: RawObject) -> ContainerTerminated | None:
    """Return the terminated state of a container; None where it has not ended."""
    state_fields = state.get("terminated")
    if not state_fields:
        return None
    return ContainerTerminated(
        exit_code=int(state_fields.get("exitCode", 0)),
        reason=str(state_fields.get("reason") or ""),
        message=str(state_fields.get("message") or ""),
        started=parse_time(state_fields.get("startedAt")),
        finished=parse_time(state_fields.get("finishedAt")),
    )


def parse_time(text: Any) -> datetime | None:
    """Parse a time of the API server."""
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
