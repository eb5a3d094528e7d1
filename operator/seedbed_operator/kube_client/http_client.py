"""HTTP client of the API server: connection and credentials of `kubernetes.aio`, raw JSON instead of models.

A raw call costs a third of one through the generated classes. Creates and status writes have separate limits,
so that a burst of pods does not delay statuses.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from seedbed_operator.kube_client.client_interface import (
    NOT_SERVED,
    ApiStatusError,
    ListPage,
    NoApiResponse,
    RawObject,
    ResponseTooLarge,
)
from seedbed_operator.kube_client.clock_skew import ClockSkew
from seedbed_operator.kube_client.list_decoder import decode_list
from seedbed_operator.kube_client.namespace_limit import NamespaceLimit
from seedbed_operator.kube_client.resource_kinds import CORE_EVENTS, PODS, ResourceKind

MOST_PAGE: Final = 200
FIRST_PAGE: Final = 16
"""Objects of the first page: an object has up to 3 MiB as JSON."""
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Size of a page that the number of its objects aims at."""
MOST_BYTES: Final = 16 * 1024 * 1024
"""A larger response is refused; a page is asked for again with fewer objects."""
FEWER: Final = 8
REQUEST_SECONDS: Final = 35
"""Longer than the 30 s of an admission webhook, so that the API server can name the one that hangs."""
MERGE_PATCH: Final = "application/merge-patch+json"
JSON: Final = "application/json"
LONGEST_MESSAGE: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestLimits:
    """Most requests of each kind at a time in one namespace; four times as many in all of them."""

    creates: int = 32
    statuses: int = 16
    others: int = 24


class HttpKubeClient:
    """KubeClient over HTTP."""

    def __init__(self, configuration: Configuration, limits: RequestLimits) -> None:
        self._client = ApiClient(configuration)
        self._host = configuration.host
        self._creates = NamespaceLimit(limits.creates)
        self._statuses = NamespaceLimit(limits.statuses)
        self._others = NamespaceLimit(limits.others)
        self.requests: Counter[tuple[str, str, str]] = Counter()
        """Requests so far by method, resource and status code."""
        self.clock_skew = ClockSkew()

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def pages(
        self, kind: ResourceKind, namespace: str | None, *, labels: str = ""
    ) -> AsyncIterator[ListPage]:
        """List a namespace, or all of them, in pages of about as many bytes."""
        query, limit = {"labelSelector": labels} if labels else {}, FIRST_PAGE
        while True:
            target = f"{kind.path(namespace)}?{urlencode(query | {'limit': str(limit)})}"
            try:
                content = await self._request("GET", target, None, None, JSON)
            except ResponseTooLarge:
                if limit == 1:
                    raise
                limit = max(limit // FEWER, 1)
                continue
            limit, answer = next_limit(limit, len(content)), decode_list(content)
            del content
            yield ListPage(resource_version=answer.metadata["resourceVersion"], items=answer.items)
            if not answer.metadata.get("continue"):
                return
            query["continue"] = answer.metadata["continue"]

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> RawObject:
        """Return one object."""
        return await self._get(kind.path(namespace, name))

    async def create(self, kind: ResourceKind, namespace: str, body: RawObject) -> RawObject:
        """Create an object and return it."""
        return await self._json("POST", kind.path(namespace), body=body, limit=self._creates)

    async def replace(self, kind: ResourceKind, namespace: str, name: str, body: RawObject) -> RawObject:
        """Replace an object if it still has the body's resource version."""
        return await self._json("PUT", kind.path(namespace, name), body=body, limit=None)

    async def delete(
        self, kind: ResourceKind, namespace: str, name: str, *, uid: str, grace_seconds: int | None = None
    ) -> RawObject:
        """Delete an object if it has this uid."""
        options: dict[str, Any] = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        if grace_seconds is not None:
            options["gracePeriodSeconds"] = grace_seconds
        return await self._json("DELETE", kind.path(namespace, name), body=options, limit=self._others)

    async def patch_status(
        self, kind: ResourceKind, namespace: str, name: str, *, resource_version: str, patch: RawObject
    ) -> RawObject:
        """Merge into an object's status if it still has this resource version."""
        body = {"metadata": {"resourceVersion": resource_version}, "status": patch}
        path = kind.path(namespace, name, "status")
        return await self._json("PATCH", path, body=body, limit=self._statuses, content=MERGE_PATCH)

    async def pod_log(
        self, namespace: str, name: str, *, lines: int, most_bytes: int, container: str | None = None
    ) -> str:
        """Return the end of a container's log; of the only container where none is named."""
        named = {"container": container} if container is not None else {}
        query = urlencode({"tailLines": lines, "limitBytes": most_bytes, **named})
        path = f"{PODS.path(namespace, name, 'log')}?{query}"
        content = await self._request("GET", path, None, self._others, JSON)
        return content.decode(errors="replace")

    async def pod_events(self, namespace: str, uid: str) -> Sequence[RawObject]:
        """Return the events about a pod."""
        query = {"fieldSelector": f"involvedObject.uid={uid}", "limit": "50"}
        answer = await self._get(CORE_EVENTS.path(namespace), query)
        items: Sequence[RawObject] = answer["items"]
        return items

    async def allows(
        self, verb: str, kind: ResourceKind, namespace: str | None, subresource: str = ""
    ) -> bool:
        """Return whether the operator has a permission."""
        asked = {
            "verb": verb,
            "group": kind.group,
            "resource": kind.plural,
            "subresource": subresource,
            "namespace": namespace or "",
        }
        body = {"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1"}
        body |= {"spec": {"resourceAttributes": asked}}  # type: ignore[dict-item]
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        answer = await self._json("POST", path, body=body, limit=self._others)
        return bool(answer["status"]["allowed"])

    async def read(self, path: str) -> RawObject:
        """Return a document that is no object."""
        return await self._get(path)

    async def _get(self, path: str, query: RawObject | None = None) -> RawObject:
        target = f"{path}?{urlencode(query)}" if query else path
        return await self._json("GET", target, limit=None)

    async def _json(
        self,
        method: str,
        path: str,
        *,
        limit: NamespaceLimit | None,
        body: RawObject | None = None,
        content: str = JSON,
    ) -> RawObject:
        answer: RawObject = json.loads(await self._request(method, path, body, limit, content))
        return answer

    async def _request(
        self, method: str, path: str, body: RawObject | None, limit: NamespaceLimit | None, content: str
    ) -> bytes:
        held = limit.hold(namespace_of_path(path)) if limit is not None else nullcontext()
        async with held:
            try:
                return await self._exchange(method, path, body, content)
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                self.requests[method, resource_of_path(path), "none"] += 1
                what = f"{type(error).__name__}: {str(error) or _describe_silent_error(error)}"
                raise NoApiResponse(f"{method} {path.partition('?')[0]} at {self._host}: {what}") from error

    async def _exchange(self, method: str, path: str, body: RawObject | None, content: str) -> bytes:
        headers = {"Content-Type": content, "Accept": "application/json", "User-Agent": "seedbed-operator"}
        await self._client.update_params_for_auth(headers, [], ["BearerToken"], path, method, body)
        sent = datetime.now(UTC)
        response = await self._client.rest_client.request(
            method, self._host + path, headers=headers, body=body, _request_timeout=_TIMEOUT
        )
        self.clock_skew.observe(response.headers.get("Date"), sent=sent, received=datetime.now(UTC))
        content_bytes = await _read_at_most(response.response, MOST_BYTES)
        self.requests[method, resource_of_path(path), str(response.status)] += 1
        if response.status >= 400:
            raise status_error(response.status, content_bytes)
        return content_bytes


async def _read_at_most(response: aiohttp.ClientResponse, most: int) -> bytes:
    """Return all bytes of a response; raise ResponseTooLarge where there are more."""
    chunks, size = list[bytes](), 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > most:
            response.close()
            raise ResponseTooLarge(f"the response of the API server has more than {most} bytes")
        chunks.append(chunk)
    return b"".join(chunks)


def next_limit(limit: int, size: int) -> int:
    """Return how many objects the next page shall have, by the size per object of the last one."""
    each = max(size // limit, 1)
    return max(1, min(PAGE_BYTES // each, MOST_PAGE))


def _describe_silent_error(error: Exception) -> str:
    return f"no response within {REQUEST_SECONDS} s" if isinstance(error, TimeoutError) else "no details"


_TIMEOUT: Final = aiohttp.ClientTimeout(total=REQUEST_SECONDS, sock_connect=5)


def resource_of_path(path: str) -> str:
    """Return the resource in a path of the API server: `pods`, `pods/log`, `trainingjobs/status`."""
    parts = path.partition("?")[0].strip("/").split("/")
    if parts[0] not in ("api", "apis"):
        return parts[0]
    scoped = parts[2:] if parts[0] == "api" else parts[3:]
    if scoped[:1] == ["namespaces"] and len(scoped) > 2:
        scoped = scoped[2:]
    return "/".join(scoped[:1] + scoped[2:])


def namespace_of_path(path: str) -> str:
    """Return the namespace in a path of the API server; empty for what is in none."""
    before, found, rest = path.partition("?")[0].partition("/namespaces/")
    return rest.partition("/")[0] if found and before.startswith(("/api/", "/apis/")) else ""


def status_error(code: int, content: bytes) -> ApiStatusError:
    """Return the error of a response with status 400 or more."""
    try:
        status = json.loads(content)
        about_an_object = code != 404 or status["details"].get("name")
        reason = str(status["reason"]) if about_an_object else NOT_SERVED
        return ApiStatusError(code, reason, _one_line(str(status["message"])))
    except (ValueError, KeyError, TypeError, AttributeError):
        reason = NOT_SERVED if code == 404 else "Unknown"
        return ApiStatusError(code, reason, _one_line(content.decode(errors="replace")))


def _one_line(message: str) -> str:
    return " ".join(message.split())[:LONGEST_MESSAGE]
