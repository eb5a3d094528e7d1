"""A port of this machine at which nobody answers."""

from __future__ import annotations

import socket


def closed_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port: int = bound.getsockname()[1]
        return port
