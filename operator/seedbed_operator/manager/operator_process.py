"""The whole operator in the order in which it begins and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

from seedbed_api.errors import InfrastructureError, UserError
from seedbed_operator import planning
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.client_config import connection
from seedbed_operator.kube_client.client_interface import ClusterError, Unanswered
from seedbed_operator.kube_client.http_client import ApiServer, Limits
from seedbed_operator.manager.health_server import Vitals, serve
from seedbed_operator.manager.leader_election import Lock
from seedbed_operator.manager.leader_loop import Operator, lead_and_work
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.manager.preflight import lost_namespaces, problems
from seedbed_operator.metrics.counters import Tallies
from seedbed_operator.metrics.job_metrics import Jobs
from seedbed_operator.metrics.metrics_page import Page
from seedbed_operator.metrics.operator_metrics import looking
from seedbed_operator.observe.driver_client import Scraper
from seedbed_operator.observe.evidence_collector import Gatherer
from seedbed_operator.observe.job_memory import Memories
from seedbed_operator.plan_executor import Applier
from seedbed_operator.reconciler.reconcile import Pass
from seedbed_operator.reconciler.workqueue import Line, Loop
from seedbed_operator.relist import Sweeper
from seedbed_operator.status_writer import Reporter

PATIENCE_SECONDS: Final = 60
"""How long the API server may be silent when the operator starts."""
LAST_RESORT_SECONDS: Final = 8
"""What is still not over so long after the grace is cut off."""

log = logging.getLogger(__name__)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def seconds() -> float:
    """Return the time in seconds, as Prometheus tells it."""
    return now().timestamp()


async def run(settings: Settings) -> None:
    """Run until told to stop; raise InfrastructureError where it cannot go on and should be started again."""
    async with AsyncExitStack() as opened:
        operator = await _build(settings, opened)
        stop = asyncio.Event()
        on_signals(stop, settings)
        runner = await serve(operator.vitals, operator.page, settings.health_port)
        opened.push_async_callback(runner.cleanup)
        log.info("serving on port %s", min(runner.addresses, key=len)[1])
        work = asyncio.create_task(lead_and_work(operator))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        stopped.cancel()
        await operator.lock.release()
        if not work.cancelled():
            work.result()


def on_signals(stop: asyncio.Event, settings: Settings) -> None:
    """Let SIGTERM and SIGINT set an event; soon after the grace the process ends whatever happens."""
    loop = asyncio.get_running_loop()

    def told(which: signal.Signals) -> None:
        log.info("%s: finishing what is under way", which.name)
        stop.set()
        loop.call_later(settings.grace_seconds + LAST_RESORT_SECONDS, os._exit, 1)

    for which in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(which, told, which)


async def check(settings: Settings) -> list[str]:
    """Return one line for everything that keeps the operator from working."""
    async with AsyncExitStack() as opened:
        cluster = ApiServer(await connection(settings.kubeconfig), Limits())
        opened.push_async_callback(cluster.close)
        try:
            return await problems(cluster, settings)
        except ClusterError as error:
            return [f"the API server cannot be asked: {error}"]


async def _build(settings: Settings, opened: AsyncExitStack) -> Operator:
    configuration = await connection(settings.kubeconfig)
    cluster = ApiServer(configuration, Limits())
    opened.push_async_callback(cluster.close)
    await _ready_to_start(cluster, settings)
    scraper = Scraper()
    opened.push_async_callback(scraper.close)
    stores, memories = Stores(), Memories()
    tallies, jobs = Tallies(seconds, stores.namespaces), Jobs(stores, memories, seconds)
    line = Line()

    def written(before: JobView, after: JobView) -> None:
        tallies.told(before, after.status, now())
        jobs.learn(after)

    passing = Pass(
        stores=stores,
        memories=memories,
        planner=planning,
        gatherer=Gatherer(cluster, scraper),
        applier=Applier(cluster, stores),
        reporter=Reporter(cluster, stores, settings.identity, written),
        clock=now,
        pressed=lambda: line.pressed,
    )
    loop = Loop(passing.run, now, passing.tell, tallies.passed, line)
    sweeper = Sweeper(cluster, stores, loop.wake, settings.scopes, tallies.forget)
    vitals = Vitals(
        loop=loop,
        sweeper=sweeper,
        stores=stores,
        sweep_seconds=settings.sweep_seconds,
        requests=cluster.requests,
        clock_skew=cluster.clock_skew,
    )
    lock = Lock(cluster, settings.lease_namespace, settings.lease_name, settings.identity)
    return Operator(
        settings=settings,
        configuration=configuration,
        stores=stores,
        loop=loop,
        sweeper=sweeper,
        vitals=vitals,
        page=Page(tallies.registry, (tallies.look, looking(vitals.pulse), jobs.look)),
        lock=lock,
    )


async def _ready_to_start(cluster: ApiServer, settings: Settings) -> None:
    """Wait for the API server, then refuse to start without what is needed."""
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while True:
        try:
            found, lost = await problems(cluster, settings), await lost_namespaces(cluster, settings)
            break
        except Unanswered as error:
            if asyncio.get_running_loop().time() > deadline:
                raise InfrastructureError("ApiServerUnavailable", str(error)) from error
            log.warning("waiting for the API server: %s", error)
            await asyncio.sleep(2)
    for namespace, lines in lost.items():
        log.warning("namespace %s is left alone until it may be read: %s", namespace, "; ".join(lines[:3]))
    spared = {line for lines in lost.values() for line in lines}
    if fatal := [line for line in found if line not in spared]:
        raise UserError("NotReady", "\n".join(fatal))
