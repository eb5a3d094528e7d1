"""The line of jobs that wait for a pass: newcomers go first, and nobody yields to them for long."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from seedbed_operator.informer_cache.object_table import JobKey

YIELDS_SECONDS: Final = 10.0
"""So long a job that has had a pass lets go first those that have had none: they wait for their pods."""


@dataclass(order=True, frozen=True, slots=True)
class _Place:
    due: float
    number: int
    job: JobKey | None = field(compare=False)
    newcomer: bool = field(compare=False)


class Line:
    """A queue of jobs, with places that ask the worker who gets them to go home."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: asyncio.PriorityQueue[_Place] = asyncio.PriorityQueue()
        self._numbers = count()
        self._newcomers = 0

    def __len__(self) -> int:
        return self._places.qsize()

    @property
    def pressed(self) -> bool:
        """Whether jobs wait that have never had a pass."""
        return self._newcomers > 0

    def join(self, job: JobKey, *, newcomer: bool) -> None:
        """Let a job wait."""
        self._newcomers += newcomer
        now = self._clock()
        self._put(now if newcomer else now + YIELDS_SECONDS, job, newcomer=newcomer)

    def send_home(self) -> None:
        """Let one worker end, before anybody else has a turn."""
        self._put(float("-inf"), None, newcomer=False)

    async def next(self) -> JobKey | None:
        """Return the job whose turn it is; None for a worker that is to end."""
        place = await self._places.get()
        self._newcomers -= place.newcomer
        return place.job

    def _put(self, due: float, job: JobKey | None, *, newcomer: bool) -> None:
        self._places.put_nowait(_Place(due, next(self._numbers), job, newcomer))
