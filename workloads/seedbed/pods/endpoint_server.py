"""The HTTP server of the driver's endpoint: one thread for all connections, and bounds for whoever connects.

Anybody who can send packets to the pod can connect. So requests have no body, headers and their number are
bounded by aiohttp, connections by `ConnectionLimit`, and a page is rendered once for all who wait for it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hmac import compare_digest

from aiohttp import web

from seedbed.pods.connection_limit import ConnectionLimit
from seedbed.pods.driver_endpoint import Page, WorkerRegistry
from seedbed_api.pod_contract.driver_endpoint import HEALTH_PATH, METRICS_PATH, NEEDED_PATH, PROGRESS_PATH

MOST_CONNECTIONS = 256
CONNECTION_SECONDS = 10.0
"""From the first packet to the last; whoever asks gives up after that."""
RENDER_THREADS = 2
_LONGEST_LINE = 4096
_MOST_HEADERS = 64
_silent = logging.Logger("seedbed.endpoint", level=logging.CRITICAL + 1)
"""Strangers write nothing into the log of the pod."""
_CLOSE_SECONDS, _FAREWELL_SECONDS = 5.0, 1.0
_BACKLOG = 1024
"""Connections that the kernel keeps until they are accepted."""


class EndpointHandler:
    """Answers requests."""

    def __init__(self, pages: Mapping[str, Page], workers: WorkerRegistry, token: str) -> None:
        self._pages, self._workers = pages, workers
        self._proof = f"Bearer {token}".encode()
        self._renderers = ThreadPoolExecutor(RENDER_THREADS, thread_name_prefix="seedbed-page")
        self._rendering: dict[str, asyncio.Future[bytes]] = {}

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Return the response to a request; the connection ends with it."""
        response = await self._response(request)
        response.force_close()
        return response

    def close(self) -> None:
        """Start no further rendering."""
        self._renderers.shutdown(wait=False, cancel_futures=True)

    async def _response(self, request: web.BaseRequest) -> web.Response:
        if request.method != "GET":
            return _text(405, "there is only GET")
        if request.can_read_body:
            return _text(413, "a request has no body here")
        if request.path == HEALTH_PATH:
            return _text(200, "ok")
        if request.path in self._pages:
            return await self._page(request.path)
        if request.path == NEEDED_PATH:
            return self._needed(request)
        return _text(404, f"there is {PROGRESS_PATH}, {METRICS_PATH} and {HEALTH_PATH}")

    async def _page(self, path: str) -> web.Response:
        """Return a page; who asks for one that is being rendered gets that one."""
        page, running = self._pages[path], self._rendering.get(path)
        if running is None:
            running = asyncio.get_running_loop().run_in_executor(self._renderers, page.render)
            running.add_done_callback(lambda _: self._rendering.pop(path))
            self._rendering[path] = running
        try:
            body = await asyncio.shield(running)
        except Exception as error:
            return _text(500, f"{type(error).__name__}: {error}")
        return web.Response(body=body, headers={"Content-Type": page.content_type})

    def _needed(self, request: web.BaseRequest) -> web.Response:
        authorization = request.headers.get("Authorization", "").encode(errors="surrogateescape")
        if not compare_digest(authorization, self._proof):
            return _text(401, "the token is another one")
        step = self._workers.step()
        ended = self._workers.ask(request.query.get("pod", ""))
        reply = {"needed": not ended} | ({} if step is None else {"step": step})
        return web.Response(body=json.dumps(reply).encode(), content_type="application/json")


def _text(status: int, line: str) -> web.Response:
    return web.Response(status=status, text=f"{line}\n")


@contextmanager
def serve_in_thread(listening: socket.socket, handler: EndpointHandler) -> Iterator[None]:
    """Serve a listening socket from a thread, and close it at the end."""
    ready, loop = threading.Event(), asyncio.new_event_loop()
    ending = asyncio.Event()
    thread = threading.Thread(
        target=lambda: loop.run_until_complete(_serve(listening, handler, ready, ending)),
        name="seedbed-endpoint",
        daemon=True,
    )
    thread.start()
    ready.wait()
    try:
        yield
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(timeout=_CLOSE_SECONDS)
        handler.close()


async def _serve(
    listening: socket.socket, handler: EndpointHandler, ready: threading.Event, ending: asyncio.Event
) -> None:
    requests = web.Server(
        handler.handle,
        access_log=None,
        logger=_silent,
        max_line_size=_LONGEST_LINE,
        max_field_size=_LONGEST_LINE,
        max_headers=_MOST_HEADERS,
        lingering_time=0,
    )
    limit = ConnectionLimit(requests, most=MOST_CONNECTIONS, seconds=CONNECTION_SECONDS)
    loop = asyncio.get_running_loop()
    async with await loop.create_server(limit, sock=listening, backlog=_BACKLOG):
        ready.set()
        await ending.wait()
    await requests.shutdown(timeout=_FAREWELL_SECONDS)
