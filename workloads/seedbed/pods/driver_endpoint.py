"""The HTTP endpoint of the driver: progress for the operator, metrics for Prometheus, polls of workers.

The port is open from the start of the process, and early requests wait for their answer: a refused probe
would be a Warning in the events of the pod.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from seedbed_api.metric_names import CONTENT_TYPE
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_endpoint import (
    METRICS_PATH,
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
    from seedbed.pods.endpoint_server import EndpointHandler, serve_in_thread  # the port is open before this

    with listening_socket(port) as listening:
        number = int(listening.getsockname()[1])
        with serve_in_thread(listening, EndpointHandler(pages, workers, token)):
            yield number
