"""Container statuses of a pod: our own, and those injected by a service mesh, a vault agent or a webhook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from seedbed_api.timestamps import parse_time
from seedbed_operator.informer_cache.bounded_fields import (
    LONGEST_IMAGE,
    LONGEST_NAME,
    LONGEST_TERMINATION_MESSAGE,
    integer,
    mapping,
    mappings,
    text,
)
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
    if not before and sum(1 for _ in _entries(status, "containerStatuses")) < 2:
        return ()
    sidecars = {
        text(each.get("name"))
        for each in mappings(spec.get("initContainers"))
        if each.get("restartPolicy") == "Always"
    }
    first = (
        _injected_container("sidecar" if text(each.get("name")) in sidecars else "init", each)
        for each in before
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
    state_fields = mapping(state.get("waiting"))
    if not state_fields:
        return None
    reason, message = text(state_fields.get("reason"), LONGEST_NAME), text(state_fields.get("message"))
    return ContainerWaiting(reason=reason, message=message, container=container, image=image)


_LEAST_CODE, _MOST_CODE = -(2**31), 2**31 - 1


def terminated_state(state: RawObject) -> ContainerTerminated | None:
    """Return the terminated state of a container; None where it has not ended."""
    state_fields = mapping(state.get("terminated"))
    if not state_fields:
        return None
    return ContainerTerminated(
        exit_code=integer(state_fields.get("exitCode"), least=_LEAST_CODE, most=_MOST_CODE),
        reason=text(state_fields.get("reason"), LONGEST_NAME),
        message=text(state_fields.get("message"), LONGEST_TERMINATION_MESSAGE),
        started=parse_time(state_fields.get("startedAt")),
        finished=parse_time(state_fields.get("finishedAt")),
    )


def _entries(status: RawObject, name: str) -> Iterator[RawObject]:
    return mappings(status.get(name))


def _injected_container(kind: InjectedContainerKind, status: RawObject) -> InjectedContainer:
    name, image = text(status.get("name"), LONGEST_NAME), text(status.get("image"), LONGEST_IMAGE)
    state, last = mapping(status.get("state")), mapping(status.get("lastState"))
    return InjectedContainer(
        name=name,
        kind=kind,
        waiting=waiting_state(state, name, image),
        terminated=terminated_state(state) or terminated_state(last),
        running="running" in state,
        started=status.get("started") is True,
        restarts=integer(status.get("restartCount"), least=0, most=_MOST_CODE),
    )
