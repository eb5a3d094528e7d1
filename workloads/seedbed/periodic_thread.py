"""A daemon thread that calls a function at fixed intervals until it is stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


class PeriodicThread:
    """Calls `function` every `seconds`, the first time after one interval. A context manager.

    `function` handles its own errors: one that escapes ends the thread.
    """

    def __init__(self, function: Callable[[], object], *, seconds: float, name: str) -> None:
        self._function, self._seconds = function, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def cancel(self) -> None:
        """Make no further call; may be called by `function` itself."""
        self._stopped.set()

    def stop(self, *, timeout: float | None = None) -> bool:
        """Make no further call, wait for the present one, and return whether it ended in time."""
        self.cancel()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopped.wait(self._seconds):
            self._function()
