"""The wish that a run should stop: SIGTERM and Ctrl-C. Ray would take both for itself."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

STOPPING = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Put our handlers back after Ray has started: its core aborts the process at SIGTERM otherwise."""
    before = {number: signal.getsignal(number) for number in STOPPING}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
