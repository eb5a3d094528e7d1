"""Timing of steps: seconds by part of the loop, step rate, time left, and a timed exchange."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.leaf_gradient import Contribution
from seedbed.arithmetic.subtree_exchange import Exchange, Parts
from seedbed.training.run_progress import PartSeconds, StartupTimes
from seedbed.training.step_schedule import RemainingWork


class DurationEstimate:
    """Estimated duration of a repeated activity: a mean in which the n-th duration has weight n.

    A slow start, as with a cold cache, loses weight; a single slow one among many hardly counts.
    """

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        """0 before the first."""

    def add(self, seconds: float) -> None:
        """Add a measured duration."""
        self.count += 1
        self.seconds += (seconds - self.seconds) * 2 / (self.count + 1)


class StepRate:
    """Steps per second, by a clock that stops during evaluations and checkpoints."""

    def __init__(self, window_seconds: float = 3.0) -> None:
        self._window = window_seconds
        self._ends: deque[float] = deque()
        self.step = DurationEstimate()

    def record_step(self, now: float) -> None:
        """Record the end of a step; the first one has no duration, since its start is unknown."""
        if self._ends:
            self.step.add(now - self._ends[-1])
        self._ends.append(now)
        while len(self._ends) > 2 and self._ends[1] <= now - self._window:
            self._ends.popleft()

    @property
    def steps_per_second(self) -> float | None:
        """Return the rate over the last seconds; None before a second step."""
        seconds = self._ends[-1] - self._ends[0] if self._ends else 0.0
        return (len(self._ends) - 1) / seconds if seconds > 0 else None


class Stopwatch:
    """Seconds by part of the loop since its start; the rest is compute."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self.startup_times = StartupTimes(began=time.time())
        self._parts = {"data": 0.0, "reduce": 0.0, "checkpoint": 0.0, "evaluation": 0.0}
        self.step_rate = StepRate()
        self._pauses = {"evaluation": DurationEstimate(), "checkpoint": DurationEstimate()}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count the seconds inside the block as `name`."""
        began = self._clock()
        try:
            yield
        finally:
            seconds = self._clock() - began
            self._parts[name] += seconds
            if name in self._pauses:
                self._pauses[name].add(seconds)

    def record_batch(self) -> None:
        """Record the arrival of a micro-batch."""
        if self.startup_times.first_batch is None:
            self.startup_times = replace(self.startup_times, first_batch=time.time())

    def record_step(self) -> None:
        """Record the end of a step."""
        if self.startup_times.first_step is None:
            self.startup_times = replace(self.startup_times, first_step=time.time())
        self.step_rate.record_step(self.elapsed - sum(self._parts[pause] for pause in self._pauses))

    def seconds_left(self, remaining: RemainingWork) -> float | None:
        """Return the estimated duration of the remaining work; None before a second step."""
        if not self.step_rate.step.count:
            return None
        evaluation, checkpoint = (self._pauses[name].seconds for name in ("evaluation", "checkpoint"))
        pauses = remaining.evaluations * evaluation + remaining.checkpoints * checkpoint
        return remaining.steps * self.step_rate.step.seconds + pauses

    @property
    def elapsed(self) -> float:
        """Return the seconds since the stopwatch was started."""
        return self._clock() - self._began

    def seconds(self) -> PartSeconds:
        """Return the seconds so far."""
        return PartSeconds(compute=self.elapsed - sum(self._parts.values()), **self._parts)


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
        """Return whether any worker raised its flag; early workers wait here for the others."""
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
