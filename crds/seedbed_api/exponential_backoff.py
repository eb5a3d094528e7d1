"""Exponential back-off: how long to wait after n failures in a row.

Pure, so that the operator can plan with it; callers add jitter, clocks and sleeps.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

_MOST_DOUBLINGS = 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ExponentialBackoff:
    """Delays in seconds that double from `first` up to `longest`."""

    first: float
    longest: float

    def delay(self, failures: int) -> float:
        """Return the delay after so many failures in a row; none counts as one."""
        doublings = min(max(failures - 1, 0), _MOST_DOUBLINGS)
        return float(min(self.first * 2**doublings, self.longest))

    def delays(self) -> Iterator[float]:
        """Yield the delay after the first failure, after the second, and so on, without end."""
        return map(self.delay, itertools.count(1))
