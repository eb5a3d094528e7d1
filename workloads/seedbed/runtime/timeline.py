"""How long each part of the way from process start to first step took, for `status.timings`."""

from __future__ import annotations

import os
import time
from pathlib import Path


class Timeline:
    """Marks on a clock that began when the process did; each mark closes the part before it."""

    def __init__(self, began: float | None = None) -> None:
        self._last = began if began is not None else process_start()
        self.parts: dict[str, float] = {}

    def mark(self, name: str) -> None:
        """Close a part: its seconds are those since the mark before."""
        now = time.time()
        self.parts[name] = self.parts.get(name, 0.0) + max(0.0, now - self._last)
        self._last = now


def process_start() -> float:
    """Return when this process started, in seconds since 1970; now where the kernel does not tell."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        up = float(Path("/proc/uptime").read_text(encoding="ascii").split()[0])
        return time.time() - up + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError):
        return time.time()
