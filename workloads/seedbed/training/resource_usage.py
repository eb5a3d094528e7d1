"""What a rank uses of its machine, told to the driver now and then; nothing of the training depends on it."""

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
    """One rank."""

    rank: int
    io_totals: IoTotals
    """Since its process began."""
    resident_bytes: int
    gpu: float | None = None
    """How busy its GPU is, 0 to 1; None where there is none, or nobody measures it."""


class ResourceMonitor:
    """Looks at the own process every few seconds, when it is asked."""

    def __init__(self, rank: int = 0, *, every: float = EVERY_SECONDS) -> None:
        self._rank, self._every = rank, every
        self._last = float("-inf")

    def sample_if_due(self) -> ResourceUsage | None:
        """Return what this rank uses if it was not looked at for a while; costs a clock otherwise."""
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
    """Return how busy the present GPU is, None where this process uses none or its driver does not tell."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    import pynvml

    try:
        return float(torch.cuda.utilization()) / 100
    except (RuntimeError, pynvml.NVMLError):  # its driver does not tell: a slice, for example
        return None
