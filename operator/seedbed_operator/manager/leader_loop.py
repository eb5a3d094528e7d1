"""Run watches, relists and workers while this operator is the leader."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from kubernetes.aio.client.configuration import Configuration

from seedbed_api.errors import InfrastructureError
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.client_interface import ApiError, KubeClient
from seedbed_operator.kube_client.namespace_limit import NAMESPACES_AT_ONCE
from seedbed_operator.manager.health_server import Health
from seedbed_operator.manager.leader_election import LeaseLock, run_election
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.metrics.metrics_page import MetricsPage
from seedbed_operator.reconciler.workqueue import Workqueue
from seedbed_operator.relist import RETRY_SECONDS, Relister
from seedbed_operator.status_writer import write_profile_statuses
from seedbed_operator.watch import EXIT_SECONDS, KopfWatch, WatchEventHandler

PROFILE_SECONDS: Final = 5
"""Seconds between two looks at the statuses of profiles, which are in memory."""
CLOSING_SECONDS: Final = 7
"""Seconds for kopf to close its watches."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """Parts of the operator."""

    settings: Settings
    configuration: Configuration
    cluster: KubeClient
    cache: InformerCache
    workqueue: Workqueue
    relister: Relister
    health: Health
    page: MetricsPage
    lock: LeaseLock


async def lead(operator: Operator) -> None:
    """Wait for the lease, then work; raise InfrastructureError where that ends by itself.

    When cancelled, finish the running reconciles.
    """
    leading = asyncio.Event()
    log.info("waiting for the lease %s/%s", operator.lock.namespace, operator.lock.name)
    election = asyncio.create_task(run_election(operator.lock, leading.set))
    waiting = asyncio.create_task(leading.wait())
    try:
        await asyncio.wait({waiting, election}, return_when=asyncio.FIRST_COMPLETED)
        if not leading.is_set():
            election.result()
            raise InfrastructureError("LeaseLost", "the election ended without the lease")
        operator.health.leading_since = asyncio.get_running_loop().time()
        log.info("leader as %s", operator.lock.identity)
        await _run_as_leader(operator, election)
    finally:
        waiting.cancel()
        election.cancel()


async def _run_as_leader(operator: Operator, election: asyncio.Task[None]) -> None:
    workers = {
        asyncio.create_task(operator.workqueue.run_worker())
        for _ in range(operator.settings.concurrency * NAMESPACES_AT_ONCE)
    }
    sweeping = asyncio.create_task(_run_relists(operator), name="relists")
    profiles = asyncio.create_task(_run_profile_statuses(operator), name="statuses of profiles")
    closing = asyncio.Event()
    watching = asyncio.create_task(_run_watches(operator, closing), name="watch")
    try:
        await asyncio.wait({watching, sweeping, profiles, election}, return_when=asyncio.FIRST_COMPLETED)
        raise InfrastructureError("Ended", _describe_end(election, watching, sweeping, profiles))
    finally:
        operator.workqueue.stop()
        sweeping.cancel()
        profiles.cancel()
        await _await_end(workers, operator.settings.grace_seconds)
        closing.set()
        await _await_end({watching}, CLOSING_SECONDS)


async def _await_end(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks to end, and cancel those that do not."""
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        log.warning("cancelled after the grace period: %s", task.get_name())
        task.cancel()


def _describe_end(election: asyncio.Task[None], *others: asyncio.Task[None]) -> str:
    """Return which task ended, and why."""
    if election.done():
        return "the lease is lost; another operator may be the leader"
    done = next(task for task in others if task.done())
    error = done.exception()
    return (
        f"the {done.get_name()} ended: {type(error).__name__}: {error}"
        if error
        else f"the {done.get_name()} ended"
    )


async def _run_relists(operator: Operator) -> None:
    """Fill the cache, start the workers, then relist periodically."""
    while operator.relister.last is None:
        try:
            await operator.relister.relist()
        except ApiError as error:
            log.warning("first relist failed: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
    log.info("first relist: %s", ", ".join(f"{n} {kind}" for kind, n in operator.cache.counts().items()))
    operator.workqueue.start()
    await operator.relister.run(operator.settings.relist_seconds)


async def _run_profile_statuses(operator: Operator) -> None:
    """Say in the status of each profile whether it can be used."""
    while True:
        await write_profile_statuses(operator.cluster, operator.cache, datetime.now(UTC))
        await asyncio.sleep(PROFILE_SECONDS)


async def _run_watches(operator: Operator, closing: asyncio.Event) -> None:
    """Watch the readable namespaces; restart where they change or history goes back."""
    watch_events = operator.health.watch_events = WatchEventHandler(
        operator.cache, operator.workqueue.enqueue, operator.relister.request
    )
    while not closing.is_set():
        operator.relister.restart_watch.clear()
        namespaces = None if operator.settings.all_namespaces else operator.relister.readable
        await _run_watch(operator, KopfWatch(watch_events, operator.configuration, namespaces), closing)


async def _run_watch(operator: Operator, watch: KopfWatch, closing: asyncio.Event) -> None:
    """Watch until `closing` or a restart; raise the error that ends it, unless a namespace was lost."""
    watching = asyncio.create_task(watch.run())
    signs = {asyncio.create_task(sign.wait()) for sign in (closing, operator.relister.restart_watch)}
    try:
        await asyncio.wait({watching, *signs}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await _check_watch_end(operator, watching)
            return
        watch.stop()
        await asyncio.wait({watching}, timeout=EXIT_SECONDS)
    finally:
        for task in (watching, *signs):
            task.cancel()


async def _check_watch_end(operator: Operator, watching: asyncio.Task[None]) -> None:
    """Return where the watch ended because a namespace cannot be read; raise its error otherwise."""
    error = watching.exception()
    lost = not operator.settings.all_namespaces and await operator.relister.find_unreadable()
    if not lost and not operator.relister.restart_watch.is_set():
        raise error or InfrastructureError("Ended", "kopf stopped watching without an error")
    operator.relister.request()
