"""Where the seconds go: a stopwatch per part, and an exchange that is timed."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.exchange import Exchange, Parts
from seedbed.arithmetic.leaf import Contribution
from seedbed.training.progress import Moments, PartSeconds


class Stopwatch:
    """Seconds by part since the first step; what belongs to no other part is compute."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self.moments = Moments(began=time.time())
        self._parts = {"data": 0.0, "reduce": 0.0, "checkpoint": 0.0, "evaluation": 0.0}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the seconds inside the block as `name`."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._parts[name] += time.perf_counter() - began

    def note_batch(self) -> None:
        """Note that a micro-batch was there."""
        if self.moments.first_batch is None:
            self.moments = replace(self.moments, first_batch=time.time())

    def note_step(self) -> None:
        """Note that a step was done."""
        if self.moments.first_step is None:
            self.moments = replace(self.moments, first_step=time.time())

    @property
    def elapsed(self) -> float:
        """Return the seconds since the stopwatch was made."""
        return time.perf_counter() - self._began

    def seconds(self) -> PartSeconds:
        """Return the seconds so far."""
        return PartSeconds(compute=self.elapsed - sum(self._parts.values()), **self._parts)


class Pace:
    """Steps per second over the last seconds, so that a slow start is soon forgotten."""

    def __init__(self, window_seconds: float = 3.0) -> None:
        self._window = window_seconds
        self._marks: deque[tuple[float, int]] = deque()

    def steps_per_second(self, completed: int, *, now: float) -> float | None:
        """Note where the run is; return its pace since the oldest mark of the window, if there is another."""
        self._marks.append((now, completed))
        while len(self._marks) > 2 and self._marks[1][0] <= now - self._window:
            self._marks.popleft()
        began, first = self._marks[0]
        return (completed - first) / (now - began) if now > began and completed > first else None


class TimedExchange:
    """An exchange whose float reduction is counted as `reduce`."""

    def __init__(self, exchange: Exchange, watch: Stopwatch) -> None:
        self._exchange = exchange
        self._watch = watch
        self.rank = exchange.rank
        self.world = exchange.world

    def reduce(self, parts: Parts, *, leaves: int) -> Contribution:
        """Return the sum over all leaves in tree order."""
        with self._watch.part("reduce"):
            return self._exchange.reduce(parts, leaves=leaves)

    def any_of(self, flag: bool) -> bool:
        """Return whether any worker raised its flag; whoever is early waits here for the others."""
        with self._watch.part("reduce"):
            return self._exchange.any_of(flag)

    def sum_counts(self, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the elementwise sum over all workers."""
        return self._exchange.sum_counts(counts)

    def gather_bytes(self, payload: bytes) -> list[bytes]:
        """Return the payloads of all workers on rank 0."""
        return self._exchange.gather_bytes(payload)

    def broadcast_bytes(self, payload: bytes) -> bytes:
        """Return rank 0's payload on every worker."""
        return self._exchange.broadcast_bytes(payload)

    def barrier(self) -> None:
        """Wait until every worker is here."""
        self._exchange.barrier()
