"""Protocol and errors of the API client. Objects are raw; a method is one request, or pages of one list."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from seedbed_operator.kube_client.resource_kinds import ResourceKind

RawObject = Mapping[str, Any]
"""An object as JSON of the API server."""


NOT_SERVED = "NotServed"
"""Reason of a 404 for a whole kind: its CRD is missing, or the API server has just started."""


class ApiError(Exception):
    """A failed request; its text is one line."""

    write: str | None = None
    """The write for a job that failed, as text; None for reads."""


class ApiStatusError(ApiError):
    """The API server responded with an error status."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(f"{code} {reason}: {message}")
        self.code = code
        self.reason = reason
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether the object does not exist: 404, but not for a whole kind."""
        return self.code == 404 and self.reason != NOT_SERVED


class NoApiResponse(ApiError):  # noqa: N818 - named for what happened
    """No response came; a write may have taken effect nevertheless."""


class ResponseTooLarge(ApiError):  # noqa: N818 - named for what happened
    """The response has more bytes than the operator reads."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ListPage:
    """One page of a list; all pages have the same resource version."""

    resource_version: str
    items: Iterable[RawObject]
    """To be read once: an object may be decoded only when it is its turn."""


class KubeClient(Protocol):
    """Requests that the operator makes to an API server."""

    def pages(
        self, kind: ResourceKind, namespace: str | None, *, labels: str = ""
    ) -> AsyncIterator[ListPage]:
        """List a namespace, or all of them, in pages."""

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> RawObject:
        """Return one object; raise ApiStatusError with `not_found` where there is none."""

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        """Create an object and return it."""

    async def replace(self, kind: ResourceKind, namespace: str, name: str, body: RawObject) -> RawObject:
        """Replace an object if it still has the body's resource version; return it."""

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        """Delete an object if it has this uid; return it while it terminates, else the Status."""

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        """Merge into an object's status if it still has this resource version; return the object."""

    async def pod_log(
        self, namespace: str, name: str, *, lines: int, most_bytes: int, container: str | None = None
    ) -> str:
        """Return the end of a container's log; of the only container where none is named."""

    async def pod_events(self, namespace: str, uid: str) -> Sequence[RawObject]:
        """Return the events about a pod."""

    async def allows(
        self, verb: str, kind: ResourceKind, namespace: str | None, subresource: str = ""
    ) -> bool:
        """Return whether the operator has a permission."""

    async def read(self, path: str) -> RawObject:
        """Return a document that is no object: discovery, OpenAPI."""
