"""Jobs that come and go leave nothing in memory, and slow drivers of one namespace hold up no other.

The real workqueue, reconciler and client of drivers, over real sockets; the API server is the tests' own.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey
from seedbed_operator.observe.driver_client import HttpDriverClient
from seedbed_operator.observe.driver_polls import MOST_PER_NAMESPACE, DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientStates
from seedbed_operator.plan_executor import PlanExecutor
from seedbed_operator.receipt_signer import ReceiptSigner
from seedbed_operator.reconciler.fair_queue import FairQueue
from seedbed_operator.reconciler.reconcile import Reconciler
from seedbed_operator.reconciler.workqueue import Workqueue
from seedbed_operator.relist import Relister
from seedbed_operator.status_writer import StatusWriter
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer
from support.servers.slow_driver import drip

WORKERS = 32


@dataclass
class Operator:
    """All of the operator but its watch."""

    server: ApiServer
    port: int = 1
    cache: InformerCache = field(default_factory=InformerCache)
    states: TransientStates = field(default_factory=TransientStates)

    def __post_init__(self) -> None:
        self.client = HttpDriverClient(port=self.port, seconds=60)
        self.polls = DriverPolls(self.client, self.enqueue, lambda: self.server.now)
        self.queue = FairQueue(most_per_namespace=WORKERS)
        self.reconciler = Reconciler(
            cache=self.cache,
            states=self.states,
            evidence_collector=EvidenceCollector(self.server, self.polls),
            executor=PlanExecutor(self.server, self.cache),
            status_writer=StatusWriter(self.server, self.cache, "operator"),
            signer=ReceiptSigner(None),
            clock=lambda: self.server.now,
        )
        self.workqueue = Workqueue(self.reconciler.reconcile, lambda: self.server.now, queue=self.queue)
        self.relister = Relister(self.server, self.cache, self.enqueue, (None,))
        self.workers: list[asyncio.Task[None]] = []

    def enqueue(self, keys: Any) -> None:
        self.workqueue.enqueue(keys)

    async def start(self) -> None:
        await self.relister.relist()
        self.workqueue.start()
        self.workers = [asyncio.create_task(self.workqueue.run_worker()) for _ in range(2 * WORKERS)]

    async def stop(self) -> None:
        self.workqueue.stop()
        await asyncio.gather(*self.workers)
        await self.polls.close()
        await self.client.close()


def a_cluster() -> ApiServer:
    server = ApiServer()
    server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
    return server


def apply(server: ApiServer, namespace: str, name: str) -> None:
    spec = {**a_recipe(), "cluster": {"workers": {"min": 1, "max": 1}}}
    server.apply(JOBS, {"metadata": {"name": name, "namespace": namespace}, "spec": spec})


async def until(done: Any, seconds: float = 240) -> None:
    async with asyncio.timeout(seconds):
        while not done():
            await asyncio.sleep(0.01)


def test_deleted_jobs_leave_nothing_behind() -> None:
    async def story() -> None:
        server = a_cluster()
        operator = Operator(server)
        await operator.start()
        for turn in range(3):
            for number in range(30):
                apply(server, f"namespace-{number % 5}", f"job-{turn}-{number}")
            await operator.relister.relist()
            await until(lambda: len(operator.cache.jobs) == 30 and not operator.workqueue.waiting)
            for kind in (JOBS, PODS):
                for raw in server.all(kind):
                    metadata = raw["metadata"]
                    await server.delete(
                        kind, metadata["namespace"], metadata["name"], uid=metadata["uid"], grace_seconds=0
                    )
            await operator.relister.relist()
            await until(lambda: not operator.workqueue._slots)
        await operator.stop()
        assert (len(operator.cache.jobs), operator.cache._pods_of, operator.cache.counts()["pods"]) == (
            0,
            {},
            0,
        )
        assert operator.states._states == {}
        assert (operator.queue._waiting, dict(operator.queue._out)) == ({}, {})
        assert (operator.polls._waiting, dict(operator.polls._running)) == ({}, {})

    asyncio.run(story())


def test_many_slow_drivers_of_one_tenant_hold_up_no_job_of_another() -> None:
    """Each is asked for a minute here: a pass that waited for them would hold its worker as long."""
    count = WORKERS + 8

    async def story() -> None:
        slow = await asyncio.start_server(drip, "127.0.0.1", 0, backlog=1024)
        server = a_cluster()
        operator = Operator(server, port=slow.sockets[0].getsockname()[1])
        for number in range(count):
            apply(server, "noisy", f"job-{number}")
        await operator.start()
        await until(lambda: operator.cache.counts()["pods"] == 2 * count and not operator.workqueue.waiting)
        for number in range(count):
            pod = server.find(PODS, "noisy", f"job-{number}-1-driver")
            assert pod is not None
            server.start(pod, ip="127.0.0.1")
        await operator.relister.relist()
        await until(lambda: operator.polls.running == MOST_PER_NAMESPACE)
        began = time.monotonic()
        apply(server, "calm", "digits")
        operator.enqueue(operator.cache.put(JOBS, server.all(JOBS, "calm")[0]))
        await until(lambda: len(operator.cache.pods(JobKey("calm", "digits"))) == 2)
        assert time.monotonic() - began < 30, "five seconds, on a machine that does nothing else"
        assert operator.polls.running == MOST_PER_NAMESPACE, "the slow ones are still being asked"
        slow.close()
        await operator.stop()

    asyncio.run(story())
