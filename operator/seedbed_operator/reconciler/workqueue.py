"""Workqueue of jobs to reconcile: one reconcile at a time per job, some jobs in parallel, no request is lost.

A job that failed waits for its back-off, whatever events come meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Iterable
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from seedbed_api.exponential_backoff import ExponentialBackoff
from seedbed_operator.kube_client.client_interface import ApiError
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.reconciler.fair_queue import FairQueue
from seedbed_operator.reconciler.reconcile import ReconcileResult

FAILURE_BACKOFF: Final = ExponentialBackoff(first=1.0, longest=60.0)
REPEAT_BACKOFF: Final = ExponentialBackoff(first=0.1, longest=5.0)
IMMEDIATE_REQUEUES: Final = 3
"""Immediate requeues in a row before a delay is added."""

ReportFailure = Callable[[JobKey, Exception, datetime], Awaitable[None]]
"""Report a failed reconcile and the time of the next one."""
RecordReconcile = Callable[[float, bool], None]
"""Record a reconcile: its seconds, and whether it failed."""

current_job: ContextVar[JobKey | None] = ContextVar("present_job", default=None)
"""The job that is being reconciled, for log lines."""

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class _JobSlot:
    not_before: float = 0.0
    timer: asyncio.TimerHandle | None = None
    queued: bool = False
    queued_at: float = 0.0
    """Time of the last enqueue, on the clock of the event loop."""
    is_new: bool = True
    """It was never reconciled."""
    running: bool = False
    dirty: bool = False
    failures: int = 0
    repeats: int = 0

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


@dataclass(kw_only=True, slots=True)
class ReconcileCounts:
    """Reconciles so far."""

    reconciles: int = 0
    failures: int = 0
    last_end: float = 0.0
    """End of the last reconcile, on the clock of the event loop."""


def backoff(failures: int) -> float:
    """Return the delay after this many failures in a row, in seconds."""
    return FAILURE_BACKOFF.delay(failures) * random.uniform(0.5, 1.0)


def requeue_delay(repeats: int) -> float:
    """Return the delay after this many requeues in a row, in seconds."""
    return REPEAT_BACKOFF.delay(repeats - IMMEDIATE_REQUEUES) if repeats > IMMEDIATE_REQUEUES else 0.0


class Workqueue:
    """Queues jobs and runs their reconciles."""

    def __init__(
        self,
        run: Callable[[JobKey], Awaitable[ReconcileResult]],
        clock: Callable[[], datetime],
        report_failure: ReportFailure | None = None,
        record_reconcile: RecordReconcile = lambda seconds, failed: None,  # noqa: ARG005
        queue: FairQueue | None = None,
    ) -> None:
        self._run = run
        self._clock = clock
        self._report_failure = report_failure
        self._record_reconcile = record_reconcile
        self._slots: dict[JobKey, _JobSlot] = {}
        self._queue = FairQueue() if queue is None else queue
        self._open = asyncio.Event()
        self._stopping = False
        self._workers = 0
        self.counts = ReconcileCounts()

    @property
    def waiting(self) -> int:
        """Return the number of jobs that wait for a worker."""
        return len(self._queue)

    def oldest_wait(self) -> float:
        """Return the longest wait of a queued job, in seconds."""
        now = asyncio.get_running_loop().time()
        return max((now - slot.queued_at for slot in self._slots.values() if slot.queued), default=0.0)

    def start(self) -> None:
        """Let the workers start: the cache is filled."""
        self.counts.last_end = asyncio.get_running_loop().time()
        self._open.set()

    def stop(self) -> None:
        """Start no more reconciles; `run_worker` returns when the running ones have ended."""
        self._stopping = True
        self._open.set()
        for _ in range(self._workers):
            self._queue.release_worker()

    def enqueue(self, keys: Iterable[JobKey]) -> None:
        """Queue these jobs; one that is being reconciled is reconciled once more."""
        now = asyncio.get_running_loop().time()
        for key in keys:
            slot = self._slots.setdefault(key, _JobSlot())
            if slot.running:
                slot.dirty = True
            else:
                self._schedule(key, slot, now)

    async def run_worker(self) -> None:
        """Reconcile queued jobs until `stop`; several workers may run in parallel."""
        self._workers += 1
        await self._open.wait()
        while not self._stopping:
            key = await self._queue.get()
            if key is None:
                continue
            try:
                if not self._stopping:
                    await self._reconcile(key)
            finally:
                self._queue.done(key)

    def _schedule(self, key: JobKey, slot: _JobSlot, at: float) -> None:
        """Queue a job, or set a timer where it is due later or backs off."""
        loop = asyncio.get_running_loop()
        at = max(at, slot.not_before)
        if slot.queued or (slot.timer is not None and slot.timer.when() <= at):
            return
        slot.stop_timer()
        if at <= loop.time():
            slot.queued, slot.queued_at = True, loop.time()
            self._queue.put(key, is_new=slot.is_new)
        else:
            slot.timer = loop.call_at(at, self._due, key, slot)

    def _due(self, key: JobKey, slot: _JobSlot) -> None:
        slot.timer = None
        if slot.running:
            slot.dirty = True
        else:
            self._schedule(key, slot, 0.0)

    async def _reconcile(self, key: JobKey) -> None:
        slot = self._slots[key]
        slot.queued, slot.running, slot.dirty, slot.is_new = False, True, False, False
        slot.stop_timer()
        token, began = current_job.set(key), asyncio.get_running_loop().time()
        try:
            after = await self._run(key)
        except Exception as error:
            self._record_duration(began, failed=True)
            delay = self._record_failure(slot, error)
            await self._report(key, error, delay)
            after = ReconcileResult(requeue=True)
        else:
            self._record_duration(began, failed=False)
            slot.failures = 0
            self._throttle_repeats(slot, after)
        finally:
            slot.running = False
            current_job.reset(token)
        self._count()
        self._reschedule(key, slot, after)

    def _record_duration(self, began: float, *, failed: bool) -> None:
        self._record_reconcile(asyncio.get_running_loop().time() - began, failed)

    def _record_failure(self, slot: _JobSlot, error: Exception) -> float:
        slot.failures += 1
        self.counts.failures += 1
        delay = backoff(slot.failures)
        slot.not_before = asyncio.get_running_loop().time() + delay
        if isinstance(error, ApiError):
            log.warning("reconcile failed, next try in %.1f s: %s", delay, error)
        else:
            log.error(
                "reconcile failed, next try in %.1f s: %s: %s",
                delay,
                type(error).__name__,
                error,
                exc_info=error,
            )
        return delay

    async def _report(self, key: JobKey, error: Exception, delay: float) -> None:
        """Report the failure in the job's status; log it where that fails as well."""
        if self._report_failure is None:
            return
        try:
            await self._report_failure(key, error, self._clock() + timedelta(seconds=delay))
        except Exception as another:
            log.warning(
                "the failure could not be written to the status: %s: %s", type(another).__name__, another
            )

    def _throttle_repeats(self, slot: _JobSlot, after: ReconcileResult) -> None:
        """Delay a job that requeues itself again and again."""
        past = after.requeue_at is not None and after.requeue_at <= self._clock()
        slot.repeats = slot.repeats + 1 if after.requeue or past else 0
        slot.not_before = asyncio.get_running_loop().time() + requeue_delay(slot.repeats)

    def _count(self) -> None:
        self.counts.reconciles += 1
        self.counts.last_end = asyncio.get_running_loop().time()

    def _reschedule(self, key: JobKey, slot: _JobSlot, after: ReconcileResult) -> None:
        now = asyncio.get_running_loop().time()
        if slot.dirty or after.requeue:
            self._schedule(key, slot, now)
        elif after.not_found:
            self._forget(key, slot)
        if after.requeue_at is not None:
            self._schedule(key, slot, now + (after.requeue_at - self._clock()).total_seconds())

    def _forget(self, key: JobKey, slot: _JobSlot) -> None:
        slot.stop_timer()
        del self._slots[key]
