"""HTTP connections that go nowhere but to permitted addresses, checked when each of them is opened.

A check of names before the request would not do: a name may resolve to another address a moment later.
"""

from __future__ import annotations

import os
import socket
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from seedbed.storage.redirect_policy import (
    host_problem,
    is_forbidden,
    is_local_host,
    is_loopback,
    redirect_problem,
)
from seedbed_api.pod_contract import env_vars
from seedbed_api.strict_json import parse_json

_local_allowed: ContextVar[bool] = ContextVar("local_allowed", default=True)
"""Whether the present request may connect to this machine: not after a redirect from elsewhere."""


class RefusedPlace(OSError):  # noqa: N818 - named like the OSErrors of Python
    """A request would go where none may go; the text says why, and names no address."""


def guarded_socket(address: Any) -> socket.socket:
    """Return the socket for an address that a name was resolved to. Raises RefusedPlace."""
    family, kind, protocol, _, target = address
    if is_forbidden(target[0]):
        raise RefusedPlace("resolves to a link-local address or a metadata service")
    if is_loopback(target[0]) and not _local_allowed.get():
        raise RefusedPlace("redirects to a name that resolves to this machine itself")
    return socket.socket(family=family, type=kind, proto=protocol)


async def guarded_client(**options: Any) -> aiohttp.ClientSession:
    """Return a session that checks every address and every redirect."""
    connector = aiohttp.TCPConnector(socket_factory=guarded_socket)
    return aiohttp.ClientSession(connector=connector, trace_configs=[_trace()], **options)


def allowed_prefixes() -> tuple[str, ...] | None:
    """Return the allowedURIPrefixes of the profile; None where it lists none, and outside of pods."""
    listed = os.environ.get(env_vars.ALLOWED_URI_PREFIXES)
    return tuple(parse_json(listed)) if listed else None


def _trace() -> aiohttp.TraceConfig:
    trace = aiohttp.TraceConfig()
    trace.on_request_start.append(_check_first)
    trace.on_request_redirect.append(_check_redirect)
    return trace


async def _check_first(
    _session: aiohttp.ClientSession, context: SimpleNamespace, started: aiohttp.TraceRequestStartParams
) -> None:
    context.first = started.url
    given = getattr(context, "trace_request_ctx", None)  # of a client that follows redirects itself
    _local_allowed.set(given["local"] if isinstance(given, dict) else True)
    problem = host_problem(started.url.host or "")
    if problem:
        raise RefusedPlace(problem)


async def _check_redirect(
    _session: aiohttp.ClientSession, context: SimpleNamespace, redirect: aiohttp.TraceRequestRedirectParams
) -> None:
    target = redirect.response.headers.get("Location") or redirect.response.headers.get("URI") or ""
    try:
        whole = str(redirect.url.join(URL(target)))
    except ValueError:
        whole = target
    problem = redirect_problem(str(context.first), str(redirect.url), whole, allowed=allowed_prefixes())
    if problem:
        redirect.response.close()
        raise RefusedPlace(problem)
    _local_allowed.set(is_local_host(context.first.host or ""))
