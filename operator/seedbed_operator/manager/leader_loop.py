"""What the leader does: watch, sweep and pass, until one of them ends or the lease is lost."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from kubernetes.aio.client.configuration import Configuration

from seedbed_api.errors import InfrastructureError
from seedbed_operator.informer_cache.cache import Stores
from seedbed_operator.kube_client.client_interface import ClusterError
from seedbed_operator.manager.health_server import Vitals
from seedbed_operator.manager.leader_election import Lock, lead
from seedbed_operator.manager.operator_settings import Settings
from seedbed_operator.metrics.metrics_page import Page
from seedbed_operator.reconciler.workqueue import Loop
from seedbed_operator.relist import RETRY_SECONDS, Sweeper
from seedbed_operator.watch import EXIT_SECONDS, Feed, Watch

CLOSING_SECONDS: Final = 7
"""How long kopf may take to close its watches."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Operator:
    """The parts of an operator."""

    settings: Settings
    configuration: Configuration
    stores: Stores
    loop: Loop
    sweeper: Sweeper
    vitals: Vitals
    page: Page
    lock: Lock


async def lead_and_work(operator: Operator) -> None:
    """Stand by until the lease is ours, then work; raise InfrastructureError when that ends by itself.

    When cancelled, finish the passes that are under way.
    """
    leading = asyncio.Event()
    log.info("standing by for the lease %s/%s", operator.lock.namespace, operator.lock.name)
    election = asyncio.create_task(lead(operator.lock, leading.set))
    waiting = asyncio.create_task(leading.wait())
    try:
        await asyncio.wait({waiting, election}, return_when=asyncio.FIRST_COMPLETED)
        if not leading.is_set():
            election.result()
            raise InfrastructureError("LeaseLost", "the election ended before it was won")
        operator.vitals.leading_since = asyncio.get_running_loop().time()
        log.info("leading as %s", operator.lock.identity)
        await _work(operator, election)
    finally:
        waiting.cancel()
        election.cancel()


async def _work(operator: Operator, election: asyncio.Task[None]) -> None:
    workers = {asyncio.create_task(operator.loop.work()) for _ in range(operator.settings.concurrency)}
    sweeping = asyncio.create_task(_sweep(operator), name="sweeps")
    closing = asyncio.Event()
    watching = asyncio.create_task(_watch(operator, closing), name="watch")
    try:
        await asyncio.wait({watching, sweeping, election}, return_when=asyncio.FIRST_COMPLETED)
        raise InfrastructureError("Ended", _why(election, watching, sweeping))
    finally:
        operator.loop.stop()
        sweeping.cancel()
        await _end(workers, operator.settings.grace_seconds)
        closing.set()
        await _end({watching}, CLOSING_SECONDS)


async def _end(tasks: set[asyncio.Task[None]], seconds: float) -> None:
    """Wait for tasks to end by themselves, and cut off those that do not."""
    _, late = await asyncio.wait(tasks, timeout=seconds)
    for task in late:
        log.warning("cut off: %s", task.get_name())
        task.cancel()


def _why(election: asyncio.Task[None], *others: asyncio.Task[None]) -> str:
    """Return what ended, and why."""
    if election.done():
        return "the lease is lost; another operator may lead by now"
    done = next(task for task in others if task.done())
    error = done.exception()
    return (
        f"the {done.get_name()} ended: {type(error).__name__}: {error}"
        if error
        else f"the {done.get_name()} ended"
    )


async def _sweep(operator: Operator) -> None:
    """Fill the stores, let the passes begin, then sweep for ever."""
    while operator.sweeper.last is None:
        try:
            await operator.sweeper.sweep()
        except ClusterError as error:
            log.warning("first sweep failed: %s", error)
            await asyncio.sleep(RETRY_SECONDS)
    log.info("first sweep: %s", ", ".join(f"{n} {kind}" for kind, n in operator.stores.counts().items()))
    operator.loop.open()
    await operator.sweeper.run(operator.settings.sweep_seconds)


async def _watch(operator: Operator, closing: asyncio.Event) -> None:
    """Let kopf watch what may be read; anew where that has changed, or history went back."""
    feed = operator.vitals.feed = Feed(operator.stores, operator.loop.wake, operator.sweeper.request)
    while not closing.is_set():
        operator.sweeper.watch_anew.clear()
        namespaces = None if operator.settings.all_namespaces else operator.sweeper.readable
        await _watch_once(operator, Watch(feed, operator.configuration, namespaces), closing)


async def _watch_once(operator: Operator, watch: Watch, closing: asyncio.Event) -> None:
    """Watch until told to close or to begin anew; raise what ends it, unless that was a lost namespace."""
    watching = asyncio.create_task(watch.run())
    signs = {asyncio.create_task(sign.wait()) for sign in (closing, operator.sweeper.watch_anew)}
    try:
        await asyncio.wait({watching, *signs}, return_when=asyncio.FIRST_COMPLETED)
        if watching.done():
            await _explained(operator, watching)
            return
        watch.stop()
        await asyncio.wait({watching}, timeout=EXIT_SECONDS)
    finally:
        for task in (watching, *signs):
            task.cancel()


async def _explained(operator: Operator, watching: asyncio.Task[None]) -> None:
    """Return where the watch ended since a namespace may not be read any more; raise its end otherwise."""
    error = watching.exception()
    lost = not operator.settings.all_namespaces and await operator.sweeper.find_lost()
    if not lost and not operator.sweeper.watch_anew.is_set():
        raise error or InfrastructureError("Ended", "kopf stopped watching by itself")
    operator.sweeper.request()
