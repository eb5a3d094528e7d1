"""Ask drivers beside the reconciles: drivers run user code, and one that answers slowly must hold up nobody.

Namespaces are served in turn, each with a bounded number of requests at a time.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.observe.driver_client import DriverClient
from seedbed_operator.observe.transient_state import TransientState
from seedbed_operator.plan import EvidenceRequest

PATIENCE_SECONDS: Final = 0.05
"""A reconcile waits this long for an answer: a driver that is well needs milliseconds."""
MOST_PER_NAMESPACE: Final = 16
MOST_AT_ONCE: Final = 128

log = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True, eq=False)
class _Poll:
    job: JobKey
    state: TransientState
    pod_uid: str
    address: str | None
    began: datetime
    late: bool = False
    """The reconcile that asked has gone on: the answer makes another one."""
    task: asyncio.Task[None] | None = field(default=None)


class DriverPolls:
    """Requests to drivers that run or wait, at most one per driver."""

    def __init__(
        self,
        drivers: DriverClient,
        enqueue: Callable[[Iterable[JobKey]], None],
        clock: Callable[[], datetime],
    ) -> None:
        """`enqueue` is called with a job whose driver answered, or did not, after its reconcile went on."""
        self._drivers = drivers
        self._enqueue = enqueue
        self._clock = clock
        self._waiting: dict[str, deque[_Poll]] = {}
        """By namespace, the one that is next in turn first."""
        self._running: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def running(self) -> int:
        """Return the number of requests that run."""
        return len(self._tasks)

    async def ask(
        self, job: JobKey, requests: Iterable[EvidenceRequest], state: TransientState, now: datetime
    ) -> None:
        """Ask the drivers of a job that are not being asked, and wait a moment for their answers."""
        polls = [
            self._submit(job, need, state, now) for need in requests if need.pod_uid not in state.pending
        ]
        self._start()
        tasks = [poll.task for poll in polls if poll.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        for poll in polls:
            poll.late = True

    async def close(self) -> None:
        """Give up all requests."""
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _submit(self, job: JobKey, need: EvidenceRequest, state: TransientState, now: datetime) -> _Poll:
        poll = _Poll(job=job, state=state, pod_uid=need.pod_uid, address=need.address, began=now)
        state.pending.add(need.pod_uid)
        self._waiting.setdefault(job.namespace, deque()).append(poll)
        return poll

    def _start(self) -> None:
        """Start what waits, one of each namespace in turn, within the limits."""
        while len(self._tasks) < MOST_AT_ONCE and (namespace := self._next_namespace()) is not None:
            polls = self._waiting.pop(namespace)
            poll = polls.popleft()
            if polls:
                self._waiting[namespace] = polls  # at the end of the line
            if poll.late:
                poll.began = self._clock()
            self._running[namespace] += 1
            poll.task = asyncio.create_task(self._run(poll))
            self._tasks.add(poll.task)
            poll.task.add_done_callback(lambda task, poll=poll: self._end(task, poll))  # type: ignore[misc]

    def _next_namespace(self) -> str | None:
        return next((name for name in self._waiting if self._running[name] < MOST_PER_NAMESPACE), None)

    async def _run(self, poll: _Poll) -> None:
        try:
            poll.state.record_response(poll.pod_uid, await self._answer(poll), poll.began)
        finally:
            poll.state.pending.discard(poll.pod_uid)
            if poll.late:
                self._enqueue([poll.job])

    async def _answer(self, poll: _Poll) -> LiveProgress | None:
        if poll.address is None:
            return None
        try:
            return await self._drivers.get_progress(poll.address, poll.state.uid)
        except Exception as error:
            log.error(
                "the driver at %s could not be asked: %s", poll.address, type(error).__name__, exc_info=error
            )
            return None

    def _end(self, task: asyncio.Task[None], poll: _Poll) -> None:
        self._tasks.discard(task)
        namespace = poll.job.namespace
        self._running[namespace] -= 1
        if not self._running[namespace]:
            del self._running[namespace]
        if not task.cancelled():
            self._start()
