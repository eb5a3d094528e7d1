"""Requests to stop by signal, SIGTERM and Ctrl-C, and the handlers that Ray would replace."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def stop_by_signal(*, end_at_second_interrupt: bool = False) -> threading.Event:
    """Return an event that SIGTERM and SIGINT set; on request a second Ctrl-C raises KeyboardInterrupt.

    A process that imports Ray at its start does so before this call: the import may install handlers too.
    """
    stopping = threading.Event()

    def stop(number: int, _frame: object) -> None:
        if end_at_second_interrupt and number == signal.SIGINT and stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    for number in _SIGNALS:
        signal.signal(number, stop)
    return stopping


@contextmanager
def preserve_signal_handlers() -> Iterator[None]:
    """Put our handlers back after Ray has started: its core aborts the process at SIGTERM otherwise."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if callable(handler):
                    signal.signal(number, handler)
