"""The operator without its process: the real cache, sweeps and passes, one step at a time, as a test says."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_operator import planning
from seedbed_operator.backends.backend_interface import Backends
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.job_observation import JobObservation
from seedbed_operator.kube_client.client_interface import ApiError, KubeClient
from seedbed_operator.kube_client.resource_kinds import Key
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientStates
from seedbed_operator.plan import Plan
from seedbed_operator.plan_executor import PlanExecutor
from seedbed_operator.receipt_signer import ReceiptSigner
from seedbed_operator.reconciler.reconcile import Reconciler, ReconcileResult
from seedbed_operator.relist import Relister
from seedbed_operator.status_writer import StatusWriter
from seedbed_operator.watch import WatchEventHandler
from support.operator.fake_api_server import ApiServer


@dataclass
class Drivers:
    """What drivers answer, by IP address."""

    answers: dict[str, LiveProgress] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    async def get_progress(self, address: str, job_uid: str) -> LiveProgress | None:
        self.asked.append(address)
        answer = self.answers.get(address)
        return answer if answer is not None and answer.job_uid == job_uid else None


class Defect(Exception):  # noqa: N818 - what a planner raises that was not thought of
    """An error that nobody expects."""


@dataclass
class Planner:
    """Planning, with a defect that shows at the next plans."""

    defects: int = 0

    def plan(self, observation: JobObservation, backends: Backends) -> Plan:
        if self.defects > 0:
            self.defects -= 1
            raise Defect("of no concern to anybody who reads a status")
        return planning.plan(observation, backends)


class Incarnation:
    """One life of the operator, between two crashes."""

    def __init__(
        self, server: ApiServer, cluster: KubeClient | None = None, drivers: Drivers | None = None
    ) -> None:
        self.server = server
        self.ahead = timedelta(0)
        """How far the operator's clock is ahead of the API server's."""
        self.cluster: KubeClient = cluster or server
        self.cache = InformerCache()
        self.woken: set[Key] = set()
        self.due: dict[Key, datetime] = {}
        self.failures: list[Exception] = []
        self.has_new_jobs = False
        """Whether other jobs wait for their first pods."""
        self.planner = Planner()
        self.relister = Relister(self.cluster, self.cache, self.enqueue, (None,))
        self.feed = WatchEventHandler(self.cache, self.enqueue, lambda: None)
        self.reconciler = Reconciler(
            cache=self.cache,
            states=TransientStates(),
            plan=self.planner.plan,
            evidence_collector=EvidenceCollector(
                self.cluster, DriverPolls(drivers or Drivers(), self.enqueue, self._later)
            ),
            executor=PlanExecutor(self.cluster, self.cache),
            status_writer=StatusWriter(self.cluster, self.cache, "operator"),
            clock=self._later,
            signer=ReceiptSigner(None),
            has_new_jobs=lambda: self.has_new_jobs,
        )

    def _later(self) -> datetime:
        """Return the time, which goes on while it is looked at: no two passes happen at once."""
        self.server.now += timedelta(milliseconds=1)
        return self.server.now + self.ahead

    def enqueue(self, keys: Iterable[Key]) -> None:
        self.woken |= set(keys)

    async def relist(self) -> None:
        """List everything; a relist that fails is one that did not happen."""
        try:
            await self.relister.relist()
        except ApiError as error:
            self.failures.append(error)

    def receive_event(self, event: Any) -> None:
        """Take one event of the watch."""
        self.feed.handle(event.kind, event.raw())

    def wake_due(self) -> None:
        """Wake the jobs whose time has come."""
        self.enqueue([key for key, due in self.due.items() if due <= self.server.now + self.ahead])

    async def step(self, key: Key) -> ReconcileResult | None:
        """Do one pass over a job; None where it failed, and is to be tried again."""
        self.woken.discard(key)
        self.due.pop(key, None)
        writes = len(self.server.calls)
        try:
            after = await self.reconciler.reconcile(key)
        except (ApiError, Defect) as error:
            self.failures.append(error)
            await self._told(key, error)
            self.woken.add(key)
            return None
        finally:
            statuses = [call for call in self.server.calls[writes:] if call.verb == "patch"]
            assert len(statuses) <= 1, f"{len(statuses)} status writes in one pass"
        if after.requeue:
            self.woken.add(key)
        if after.requeue_at is not None:
            self.due[key] = after.requeue_at
        return after

    async def _told(self, key: Key, error: Exception) -> None:
        """Let the status tell of a failure, as the loop does."""
        try:
            await self.reconciler.report_failure(key, error, self.server.now + timedelta(seconds=30))
        except ApiError as another:
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
