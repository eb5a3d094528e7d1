"""The driver's port, open from its first moment on: who asks meanwhile waits for the answer.

A probe that is refused is a Warning in the events of the pod, though nothing is wrong with the start.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress

from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_endpoint import PROGRESS_PORT

_BACKLOG = 128
_open: dict[int, socket.socket] = {}


def listen_early(environ: Mapping[str, str]) -> None:
    """Open the port that the environment names; what is wrong with it is told by who serves it."""
    text = environ.get(env_vars.PROGRESS_PORT, str(PROGRESS_PORT))
    with suppress(OSError, OverflowError, ValueError):
        port = int(text)
        if port:
            _open[port] = socket.create_server(("", port), backlog=_BACKLOG)


def opened(port: int) -> socket.socket:
    """Return a socket that listens at a port, 0 for a free one; it is the caller's to close."""
    early = _open.pop(port, None)
    return early or socket.create_server(("", port), backlog=_BACKLOG)
