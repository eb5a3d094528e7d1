"""What the operator asks of an API server. Objects are raw; a method is one request, or pages of one list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seedbed_operator.kube_client.resource_kinds import ResourceKind

RawObject = Mapping[str, Any]
"""An object as the API server writes it."""


NOT_SERVED = "NotServed"
"""Reason of a 404 about a whole kind: its definition is missing, or the API server has just started."""


class ApiError(Exception):
    """A request that did not do what it was meant to do; its text is one line."""

    write: str | None = None
    """What was to be written for a job, in words; None of what is only read."""


class ApiStatusError(ApiError):
    """The API server answered with an error."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether there is no such object: 404, but not of a whole kind."""
        return self.code == 404 and self.reason != NOT_SERVED


class NoApiResponse(ApiError):  # noqa: N818 - named for what happened
    """No answer came; a write may have taken effect all the same."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListPage:
    """A part of a list; all parts show the same moment, that of the resource version."""

    resource_version: str
    items: Sequence[RawObject]


class KubeClient(Protocol):
    """An API server."""

    def pages(
        self, kind: ResourceKind, namespace: str | None, *, labels: str = ""
    ) -> AsyncIterator[ListPage]:
        """List a namespace, or all of them, in pages."""

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> RawObject:
        """Return one object; Refused, and `gone`, where there is none."""

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        """Create an object and return it."""

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        """Delete an object if it has this uid; return it while it is terminating, else the API's Status."""

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        """Merge into an object's status if it still has this resource version; return the object."""

    async def pod_log(
        self, namespace: str, name: str, *, lines: int, most_bytes: int, container: str | None = None
    ) -> str:
        """Return the end of the log of a pod's container; of its only one where none is named."""

    async def pod_events(self, namespace: str, uid: str) -> Sequence[RawObject]:
        """Return the events about a pod."""

    async def allows(
        self, verb: str, kind: ResourceKind, namespace: str | None, subresource: str = ""
    ) -> bool:
        """Tell whether the operator itself may do something."""

    async def read(self, path: str) -> RawObject:
        """Return a document of the API server that is no object: discovery, OpenAPI."""
