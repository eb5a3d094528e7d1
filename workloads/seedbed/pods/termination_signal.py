"""The wish of the kubelet that a pod should end."""

from __future__ import annotations

import signal
import threading


def stop_by_signal() -> threading.Event:
    """Return what SIGTERM sets. Ray sets a handler of its own when it is imported, so that comes before."""
    import ray  # noqa: F401

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    return stopping
