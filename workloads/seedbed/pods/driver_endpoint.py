"""The HTTP endpoint of the driver: progress for the operator, metrics for Prometheus, polls of workers.

The port is open from the start of the process, and early requests wait for their answer: a refused probe
would be a Warning in the events of the pod.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from hmac import compare_digest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

from seedbed_api.metric_names import CONTENT_TYPE
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_endpoint import (
    HEALTH_PATH,
    METRICS_PATH,
    NEEDED_PATH,
    PROGRESS_PATH,
    PROGRESS_PORT,
)

_BACKLOG = 128
_early_sockets: dict[int, socket.socket] = {}


def listen_early(environ: Mapping[str, str]) -> None:
    """Open the port that the environment names; a wrong one is reported when it is served."""
    text = environ.get(env_vars.PROGRESS_PORT, str(PROGRESS_PORT))
    with suppress(OSError, OverflowError, ValueError):
        port = int(text)
        if port:
            _early_sockets[port] = socket.create_server(("", port), backlog=_BACKLOG)


def listening_socket(port: int) -> socket.socket:
    """Return a socket that listens at a port, 0 for a free one; the caller closes it."""
    early = _early_sockets.pop(port, None)
    return early or socket.create_server(("", port), backlog=_BACKLOG)


Render = Callable[[], bytes]

POLL_SECONDS = 1.0
"""How often a worker asks whether it is needed."""


class Page(NamedTuple):
    """A page of the endpoint: its content and content type."""

    render: Render
    content_type: str


class WorkerRegistry:
    """The workers that ask whether they are needed, and whether they still are."""

    def __init__(self) -> None:
        self.step: Callable[[], int | None] = lambda: None
        """Returns the step of the training, for the logs of workers; None for a sweep."""
        self._lock = threading.Lock()
        self._ended = False
        self._asked: dict[str, float] = {}

    def ask(self, pod: str) -> bool:
        """Record that a worker asks; return whether the attempt has ended."""
        with self._lock:
            if self._ended:
                self._asked.pop(pod, None)
            else:
                self._asked[pod] = time.monotonic()
            return self._ended

    def end(self, *, patience: float) -> None:
        """End the attempt; wait until the present workers know, at most for `patience` seconds."""
        deadline = time.monotonic() + patience
        with self._lock:
            self._ended = True
            recently = time.monotonic() - 5 * POLL_SECONDS
            self._asked = {pod: at for pod, at in self._asked.items() if at > recently}
        while self._asked and time.monotonic() < deadline:
            time.sleep(0.05)


@contextmanager
def serve_endpoint(
    port: int, *, progress: Render, workers: WorkerRegistry, token: str, metrics: Render | None = None
) -> Iterator[int]:
    """Serve `/progress`, `/metrics`, `/healthz` and, with the token, `/needed` from a thread.

    Yields the port.
    """
    pages = {PROGRESS_PATH: Page(progress, "application/json")}
    if metrics is not None:
        pages[METRICS_PATH] = Page(metrics, CONTENT_TYPE)
    server = _Server(port, pages, workers, token)
    thread = threading.Thread(target=server.serve_forever, name="seedbed-endpoint", daemon=True)
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, pages: Mapping[str, Page], workers: WorkerRegistry, token: str) -> None:
        super().__init__(("", port), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening_socket(port)
        self.server_address = self.socket.getsockname()
        self.pages, self.workers, self.token = pages, workers, token

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that closed the connection: a busy driver answers late."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == HEALTH_PATH:
            self._send(200, b"ok\n", "text/plain")
        elif parts.path in self.server.pages:
            self._send_page(self.server.pages[parts.path])
        elif parts.path == NEEDED_PATH:
            self._send_needed(parse_qs(parts.query).get("pod", [""])[0])
        else:
            self._send(
                404, f"there is {PROGRESS_PATH}, {METRICS_PATH} and {HEALTH_PATH}\n".encode(), "text/plain"
            )

    def _send_page(self, page: Page) -> None:
        try:
            body = page.render()
        except Exception as error:
            self._send(500, f"{type(error).__name__}: {error}\n".encode(), "text/plain")
        else:
            self._send(200, body, page.content_type)

    def _send_needed(self, pod: str) -> None:
        authorization = self.headers.get("Authorization", "")
        if not compare_digest(authorization.encode(), f"Bearer {self.server.token}".encode()):
            self._send(401, b"the token is another one\n", "text/plain")
            return
        workers = self.server.workers
        step = workers.step()
        reply = {"needed": not workers.ask(pod)} | ({} if step is None else {"step": step})
        self._send(200, json.dumps(reply).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Log nothing: every worker asks once per second."""
