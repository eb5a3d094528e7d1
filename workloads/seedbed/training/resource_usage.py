"""Resource usage of a rank: memory, GPU, dataset reads; sampled for the driver's metrics."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seedbed.feed.io_counters import IO_COUNTERS, IoTotals

EVERY_SECONDS: Final = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ResourceUsage:
    """Usage of one rank."""

    rank: int
    io_totals: IoTotals
    """Since the process started."""
    resident_bytes: int
    gpu: float | None = None
    """GPU utilization, 0 to 1; None without a GPU, or where its driver does not report it."""


class ResourceMonitor:
    """Samples the usage of this process, at most every few seconds."""

    def __init__(self, rank: int = 0, *, every: float = EVERY_SECONDS) -> None:
        self._rank, self._every = rank, every
        self._last = float("-inf")

    def sample_if_due(self) -> ResourceUsage | None:
        """Return a new sample if the last one is old enough; otherwise reads the clock only."""
        now = time.monotonic()
        if now - self._last < self._every:
            return None
        self._last = now
        return ResourceUsage(
            rank=self._rank,
            io_totals=IO_COUNTERS.total(),
            resident_bytes=resident_bytes(),
            gpu=gpu_utilization(),
        )


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def gpu_utilization() -> float | None:
    """Return the utilization of the present GPU; None if unused, or if its driver does not report it."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    import pynvml  # only where a GPU is used

    try:
        return float(torch.cuda.utilization()) / 100
    except (RuntimeError, pynvml.NVMLError):  # its driver does not report it, as for a MIG slice
        return None
