"""Seconds of each part of the start-up, from process start to the first step (`status.timings`)."""

from __future__ import annotations

import os
import time
from pathlib import Path

from seedbed.training.run_progress import StartupTimes


class StartupTimings:
    """Marks on a clock that began when the process did; each mark closes the part before it."""

    def __init__(self, began: float | None = None) -> None:
        self.began = began if began is not None else process_start_time()
        self._last = self.began
        self.parts: dict[str, float] = {}

    def mark(self, name: str, *, at: float | None = None) -> None:
        """Close a part, now or at a time (seconds since 1970): its seconds are those since the mark before.

        Only the first mark of a name counts, and a clock of another machine cannot make a part negative.
        """
        if name in self.parts:
            return
        moment = max(self._last, time.time() if at is None else at)
        self.parts[name] = moment - self._last
        self._last = moment


def mark_startup_times(timeline: StartupTimings, moments: StartupTimes | None) -> None:
    """Mark the times of the first worker group, in order, once its first step is done."""
    if moments is None or moments.first_batch is None or moments.first_step is None:
        return
    timeline.mark("WorkersStarted", at=moments.began)
    timeline.mark("FirstBatch", at=moments.first_batch)
    timeline.mark("FirstStep", at=moments.first_step)


def process_start_time() -> float:
    """Return when this process started, in seconds since 1970; now where /proc does not say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return time.time() - up + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time()
