"""The HTTP endpoint of the driver: progress for the operator, metrics for Prometheus, polls of workers.

Its port is open from the first moment on, so that who asks early waits for the answer: a refused probe is
a Warning in the events of the pod.
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
    """Open the port that the environment names; what is wrong with it is told by who serves it."""
    text = environ.get(env_vars.PROGRESS_PORT, str(PROGRESS_PORT))
    with suppress(OSError, OverflowError, ValueError):
        port = int(text)
        if port:
            _early_sockets[port] = socket.create_server(("", port), backlog=_BACKLOG)


def listening_socket(port: int) -> socket.socket:
    """Return a socket that listens at a port, 0 for a free one; it is the caller's to close."""
    early = _early_sockets.pop(port, None)
    return early or socket.create_server(("", port), backlog=_BACKLOG)


Render = Callable[[], bytes]

POLL_SECONDS = 1.0
"""How often a worker asks."""


class Page(NamedTuple):
    """What is told under a path, and of what kind it is."""

    tell: Render
    kind: str


class WorkerRegistry:
    """Which workers ask whether they are needed, and which have heard that they no longer are."""

    def __init__(self) -> None:
        self.step: Callable[[], int | None] = lambda: None
        """How far the training is, for what workers log; None where it is not one."""
        self._lock = threading.Lock()
        self._ended = False
        self._asked: dict[str, float] = {}

    def ask(self, pod: str) -> bool:
        """Note that a worker asks; return whether the attempt has ended."""
        with self._lock:
            if self._ended:
                self._asked.pop(pod, None)
            else:
                self._asked[pod] = time.monotonic()
            return self._ended

    def end(self, *, patience: float) -> None:
        """Say that the attempt has ended, and give the workers that are there the time to hear of it."""
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
    """Serve `/progress`, `/metrics`, `/healthz` and, to who has the token, `/needed` from a thread.

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
        """Say nothing of askers who did not wait: a busy driver takes its time."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == HEALTH_PATH:
            self._answer(200, b"ok\n", "text/plain")
        elif parts.path in self.server.pages:
            self._tell(self.server.pages[parts.path])
        elif parts.path == NEEDED_PATH:
            self._tell_worker(parse_qs(parts.query).get("pod", [""])[0])
        else:
            self._answer(
                404, f"there is {PROGRESS_PATH}, {METRICS_PATH} and {HEALTH_PATH}\n".encode(), "text/plain"
            )

    def _tell(self, page: Page) -> None:
        try:
            body = page.tell()
        except Exception as error:
            self._answer(500, f"{type(error).__name__}: {error}\n".encode(), "text/plain")
        else:
            self._answer(200, body, page.kind)

    def _tell_worker(self, pod: str) -> None:
        given = self.headers.get("Authorization", "")
        if not compare_digest(given.encode(), f"Bearer {self.server.token}".encode()):
            self._answer(401, b"the token is another one\n", "text/plain")
            return
        workers = self.server.workers
        step = workers.step()
        told = {"needed": not workers.ask(pod)} | ({} if step is None else {"step": step})
        self._answer(200, json.dumps(told).encode(), "application/json")

    def _answer(self, status: int, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing: it is asked every second."""
