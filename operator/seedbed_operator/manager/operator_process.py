"""Build, start and stop the operator process."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import Final

from seedbed_api.errors import InfrastructureError, UserError
from seedbed_operator.backends.pods_backend import backends_with
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.client_config import load_configuration
from seedbed_operator.kube_client.client_interface import ApiError, NoApiResponse
from seedbed_operator.kube_client.http_client import HttpKubeClient, RequestLimits
from seedbed_operator.kube_client.resource_kinds import JobKey
from seedbed_operator.manager.health_server import Health, serve
from seedbed_operator.manager.leader_election import LeaseLock
from seedbed_operator.manager.leader_loop import Operator, lead
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.manager.preflight import preflight_problems, unreadable_namespaces
from seedbed_operator.metrics.counters import Counters
from seedbed_operator.metrics.job_metrics import JobMetrics
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.metrics.operator_metrics import operator_collector
from seedbed_operator.observe.driver_client import HttpDriverClient
from seedbed_operator.observe.driver_polls import DriverPolls
from seedbed_operator.observe.evidence_collector import EvidenceCollector
from seedbed_operator.observe.transient_state import TransientStates
from seedbed_operator.plan_executor import PlanExecutor
from seedbed_operator.receipt_signer import ReceiptSigner
from seedbed_operator.reconciler.fair_queue import FairQueue
from seedbed_operator.reconciler.reconcile import Reconciler
from seedbed_operator.reconciler.workqueue import Workqueue
from seedbed_operator.relist import Relister
from seedbed_operator.status_writer import StatusWriter

API_SERVER_WAIT_SECONDS: Final = 60
"""Wait for the API server at the start."""
FORCED_EXIT_SECONDS: Final = 8
"""The process exits this long after the grace period, whatever still runs."""

log = logging.getLogger(__name__)


def now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def unix_seconds() -> float:
    """Return the Unix time in seconds."""
    return now().timestamp()


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; raise InfrastructureError where the process should restart."""
    async with AsyncExitStack() as opened:
        operator = await _build(settings, opened)
        stop = asyncio.Event()
        handle_signals(stop, settings)
        runner = await serve(operator.health, operator.page, settings.health_port)
        opened.push_async_callback(runner.cleanup)
        work = asyncio.create_task(lead(operator))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({work, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            work.cancel()
            await asyncio.wait({work})
        stopped.cancel()
        await operator.lock.release()
        if not work.cancelled():
            work.result()


def handle_signals(stop: asyncio.Event, settings: Settings) -> None:
    """Set an event on SIGTERM and SIGINT; exit the process after the grace period in any case."""
    workqueue = asyncio.get_running_loop()

    def text(which: signal.Signals) -> None:
        log.info("received %s, finishing running reconciles", which.name)
        stop.set()
        workqueue.call_later(settings.grace_seconds + FORCED_EXIT_SECONDS, os._exit, 1)

    for which in (signal.SIGTERM, signal.SIGINT):
        workqueue.add_signal_handler(which, text, which)


async def check(settings: Settings) -> list[str]:
    """Return one line for each problem that keeps the operator from working."""
    async with AsyncExitStack() as opened:
        cluster = HttpKubeClient(await load_configuration(settings.kubeconfig), RequestLimits())
        opened.push_async_callback(cluster.close)
        try:
            return await preflight_problems(cluster, settings)
        except ApiError as error:
            return [f"the API server does not respond: {error}"]


async def _build(settings: Settings, opened: AsyncExitStack) -> Operator:
    configuration = await load_configuration(settings.kubeconfig)
    cluster = HttpKubeClient(configuration, RequestLimits())
    opened.push_async_callback(cluster.close)
    await _check_preflight(cluster, settings)
    driver_client = HttpDriverClient()
    opened.push_async_callback(driver_client.close)
    queue = FairQueue(most_per_namespace=settings.concurrency)

    def enqueue(keys: Iterable[JobKey]) -> None:
        workqueue.enqueue(keys)

    polls = DriverPolls(driver_client, enqueue, now)
    opened.push_async_callback(polls.close)
    cache, states = InformerCache(), TransientStates()
    counters, jobs = Counters(unix_seconds, cache.namespaces), JobMetrics(cache, states, unix_seconds)

    def written(before: JobView, after: JobView) -> None:
        counters.record_status(before, after.status, now())
        jobs.update(after)

    reconciler = Reconciler(
        cache=cache,
        states=states,
        backends=backends_with(settings.network_rules, settings.exchange_of_gpus),
        evidence_collector=EvidenceCollector(cluster, polls),
        executor=PlanExecutor(cluster, cache),
        status_writer=StatusWriter(cluster, cache, settings.identity, written),
        clock=now,
        signer=ReceiptSigner(settings.signing_key, stores=settings.store_signatures),
        has_new_jobs=lambda: queue.has_new_jobs,
    )
    workqueue = Workqueue(
        reconciler.reconcile, now, reconciler.report_failure, counters.record_reconcile, queue
    )
    relister = Relister(cluster, cache, workqueue.enqueue, settings.scopes, counters.forget)
    health = Health(
        workqueue=workqueue,
        relister=relister,
        cache=cache,
        relist_seconds=settings.relist_seconds,
        requests=cluster.requests,
        clock_skew=cluster.clock_skew,
    )
    lock = LeaseLock(cluster, settings.lease_namespace, settings.lease_name, settings.identity)
    return Operator(
        settings=settings,
        configuration=configuration,
        cluster=cluster,
        cache=cache,
        workqueue=workqueue,
        relister=relister,
        health=health,
        page=MetricsPage(
            counters.registry, (counters.collect, operator_collector(health.snapshot), jobs.collect)
        ),
        lock=lock,
    )


async def _check_preflight(cluster: HttpKubeClient, settings: Settings) -> None:
    """Wait for the API server, then raise where CRDs or permissions are missing."""
    deadline = asyncio.get_running_loop().time() + API_SERVER_WAIT_SECONDS
    while True:
        try:
            found, lost = (
                await preflight_problems(cluster, settings),
                await unreadable_namespaces(cluster, settings),
            )
            break
        except NoApiResponse as error:
            if asyncio.get_running_loop().time() > deadline:
                raise InfrastructureError("ApiServerUnavailable", str(error)) from error
            log.warning("waiting for the API server: %s", error)
            await asyncio.sleep(2)
    for namespace, lines in lost.items():
        log.warning(
            "namespace %s cannot be read, its jobs are left alone: %s", namespace, "; ".join(lines[:3])
        )
    spared = {line for lines in lost.values() for line in lines}
    if fatal := [line for line in found if line not in spared]:
        raise UserError("NotReady", "\n".join(fatal))
