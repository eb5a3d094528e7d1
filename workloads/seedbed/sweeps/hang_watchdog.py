"""A run in this process that does not move: a thread cannot be ended, so the whole process is.

What hangs holds the lease of its run; with the process it goes, and the same command tries the run again.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from seedbed.training.run_progress import RunProgress
from seedbed_api.conditions import ExitCode
from seedbed_api.sweepjob import SweepJobSpec

_TICK_SECONDS = 0.5


class Watch:
    """Ends this process where a run makes no step for longer than the spec allows. A context manager."""

    def __init__(
        self,
        spec: SweepJobSpec,
        *,
        tell: Callable[[str], None],
        end: Callable[[int], object] = os._exit,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._spec, self._tell, self._end, self._now = spec, tell, end, now
        self._last: RunProgress | None = None
        self._moved = now()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="hang-watch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def note(self, progress: RunProgress) -> None:
        """Take in how far the run is."""
        if progress != self._last:
            self._last, self._moved = progress, self._now()

    def problem(self) -> str | None:
        """Return what is wrong, in one line; None while the run moves."""
        began = self._last is not None
        name = "progressDeadlineSeconds" if began else "preRunningDeadlineSeconds"
        patience = self._spec.progress_deadline_seconds if began else self._spec.pre_running_deadline_seconds
        if self._now() - self._moved <= patience:
            return None
        return (
            f"ProgressDeadlineExceeded: no step came for spec.{name} ({patience} s); this process ends, "
            "and the same command tries the run again from its newest checkpoint"
        )

    def _watch(self) -> None:
        while not self._over.wait(_TICK_SECONDS):
            problem = self.problem()
            if problem is not None:
                self._tell(problem)
                self._end(int(ExitCode.INFRASTRUCTURE))
                return
