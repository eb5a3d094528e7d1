"""The operator without its process: the real stores, sweeps and passes, one step at a time, as a test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator import planning
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.job_observation import Observation
from seedbed_operator.kube_client.client_interface import Cluster, ClusterError
from seedbed_operator.kube_client.resource_kinds import Key
from seedbed_operator.observe.evidence_collector import Gatherer
from seedbed_operator.observe.job_memory import Memories
from seedbed_operator.plan import Plan
from seedbed_operator.plan_executor import Applier
from seedbed_operator.reconciler.reconcile import After, Pass
from seedbed_operator.relist import Sweeper
from seedbed_operator.status_writer import Reporter
from seedbed_operator.watch import Feed
from support.operator.fake_api_server import ApiServer


@dataclass
class Drivers:
    """What drivers answer, by IP address."""

    answers: dict[str, LiveProgress] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def ask(self, address: str, job_uid: str) -> LiveProgress | None:
        self.asked.append(address)
        answer = self.answers.get(address)
        return answer if answer is not None and answer.job_uid == job_uid else None


class Defect(Exception):  # noqa: N818 - what a planner raises that was not thought of
    """An error that nobody expects."""


@dataclass
class Planner:
    """Planning, with a defect that shows at the next plans."""

    defects: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(planning, name)

    def plan(self, observation: Observation) -> Plan:
        if self.defects > 0:
            self.defects -= 1
            raise Defect("of no concern to anybody who reads a status")
        return planning.plan(observation)


class Incarnation:
    """One life of the operator, between two crashes."""

    def __init__(
        self, server: ApiServer, cluster: Cluster | None = None, drivers: Drivers | None = None
    ) -> None:
        self.server = server
        self.ahead = timedelta(0)
        """How far the operator's clock is ahead of the API server's."""
        self.cluster: Cluster = cluster or server
        self.stores = Stores()
        self.woken: set[Key] = set()
        self.due: dict[Key, datetime] = {}
        self.failures: list[Exception] = []
        self.pressed = False
        """Whether other jobs wait for their first pods."""
        self.planner = Planner()
        self.sweeper = Sweeper(self.cluster, self.stores, self.wake, (None,))
        self.feed = Feed(self.stores, self.wake, lambda: None)
        self.passing = Pass(
            stores=self.stores,
            memories=Memories(),
            planner=self.planner,
            gatherer=Gatherer(self.cluster, drivers or Drivers()),
            applier=Applier(self.cluster, self.stores),
            reporter=Reporter(self.cluster, self.stores, "operator"),
            clock=self._later,
            pressed=lambda: self.pressed,
        )

    def _later(self) -> datetime:
        """Return the time, which goes on while it is looked at: no two passes happen at once."""
        self.server.now += timedelta(milliseconds=1)
        return self.server.now + self.ahead

    def wake(self, keys: Iterable[Key]) -> None:
        self.woken |= set(keys)

    async def sweep(self) -> None:
        """List everything; a sweep that fails is one that did not happen."""
        try:
            await self.sweeper.sweep()
        except ClusterError as error:
            self.failures.append(error)

    def hear(self, event: Any) -> None:
        """Take one event of the watch."""
        self.feed.take(event.kind, event.raw())

    def wake_due(self) -> None:
        """Wake the jobs whose time has come."""
        self.wake([key for key, due in self.due.items() if due <= self.server.now + self.ahead])

    async def step(self, key: Key) -> After | None:
        """Do one pass over a job; None where it failed, and is to be tried again."""
        self.woken.discard(key)
        self.due.pop(key, None)
        writes = len(self.server.calls)
        try:
            after = await self.passing.run(key)
        except (ClusterError, Defect) as error:
            self.failures.append(error)
            await self._told(key, error)
            self.woken.add(key)
            return None
        finally:
            statuses = [call for call in self.server.calls[writes:] if call.verb == "patch"]
            assert len(statuses) <= 1, f"{len(statuses)} status writes in one pass"
        if after.again:
            self.woken.add(key)
        if after.wake_at is not None:
            self.due[key] = after.wake_at
        return after

    async def _told(self, key: Key, error: Exception) -> None:
        """Let the status tell of a failure, as the loop does."""
        try:
            await self.passing.tell(key, error, self.server.now + timedelta(seconds=30))
        except ClusterError as another:
            self.failures.append(another)

    async def steps(self, most: int = 50) -> None:
        """Pass over all woken jobs until none is."""
        for _ in range(most):
            self.wake_due()
            if not self.woken:
                return
            for key in sorted(self.woken):
                await self.step(key)
        raise AssertionError(f"the operator finds no rest: {sorted(self.woken)}")
