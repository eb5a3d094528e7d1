"""Queue of jobs that serves namespaces in turn; within a namespace new jobs go first."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from seedbed_operator.kube_client.resource_kinds import JobKey

NEW_JOB_PRIORITY_SECONDS: Final = 10.0
"""Jobs that were never reconciled go first for this long: they wait for their pods."""


@dataclass(order=True, frozen=True, slots=True)
class _QueueItem:
    due: float
    number: int
    job: JobKey = field(compare=False)
    is_new: bool = field(compare=False)


class FairQueue:
    """Priority queue of jobs for several workers.

    A namespace with new jobs goes before one without, unless that has waited long; equals take turns.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, most_per_namespace: int | None = None
    ) -> None:
        """`most_per_namespace` bounds how many jobs of one namespace are out at a time."""
        self._clock = clock
        self._most = most_per_namespace
        self._waiting: dict[str, list[_QueueItem]] = {}
        """Heaps by namespace, the one that is next in turn first."""
        self._out: Counter[str] = Counter()
        self._workers: deque[asyncio.Future[None]] = deque()
        """Workers that wait for a job."""
        self._numbers = count()
        self._length = self._new_jobs = self._released = 0

    def __len__(self) -> int:
        return self._length + self._released

    @property
    def has_new_jobs(self) -> bool:
        """Whether jobs wait that were never reconciled."""
        return self._new_jobs > 0

    def put(self, job: JobKey, *, is_new: bool) -> None:
        """Add a job."""
        now = self._clock()
        due = now if is_new else now + NEW_JOB_PRIORITY_SECONDS
        self._length += 1
        self._new_jobs += is_new
        item = _QueueItem(due, next(self._numbers), job, is_new)
        heapq.heappush(self._waiting.setdefault(job[0], []), item)
        self._wake()

    def release_worker(self) -> None:
        """Let one worker end before it takes another job."""
        self._released += 1
        self._wake()

    async def get(self) -> JobKey | None:
        """Return the next job, which is out until `done`; None to end the worker."""
        while not self._released and (namespace := self._next_namespace()) is None:
            await self._wait()
        if self._released:
            self._released -= 1
            return None
        assert namespace is not None, "nothing was awaited since it was found"
        return self._take(namespace)

    def done(self, job: JobKey) -> None:
        """Return a job: another one of its namespace may be taken."""
        self._out[job[0]] -= 1
        if not self._out[job[0]]:
            del self._out[job[0]]
        self._wake()

    def _take(self, namespace: str) -> JobKey:
        heap = self._waiting.pop(namespace)
        item = heapq.heappop(heap)
        if heap:
            self._waiting[namespace] = heap  # at the end of the line
        self._length -= 1
        self._new_jobs -= item.is_new
        self._out[namespace] += 1
        return item.job

    def _next_namespace(self) -> str | None:
        """Return the first in line of those with a new job, or with one that has waited longer than these."""
        heads = [(name, heap[0]) for name, heap in self._waiting.items() if self._may_take(name)]
        newest = min((item.due for _, item in heads if item.is_new), default=float("inf"))
        return next((name for name, item in heads if item.is_new or item.due <= newest), None)

    def _may_take(self, namespace: str) -> bool:
        return self._most is None or self._out[namespace] < self._most

    def _wake(self) -> None:
        while self._workers:
            worker = self._workers.popleft()
            if not worker.done():
                worker.set_result(None)
                return

    async def _wait(self) -> None:
        worker = asyncio.get_running_loop().create_future()
        self._workers.append(worker)
        try:
            await worker
        except asyncio.CancelledError:
            if worker.done() and not worker.cancelled():
                self._wake()
            raise
