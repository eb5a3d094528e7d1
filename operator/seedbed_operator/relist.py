"""List everything now and then: a watch that lost an event, or sits blind, is mended by what is listed.

The age of the last sweep is what the liveness probe asks for: a sweep shows that the API server answers.
Two things are noticed here alone: a watched namespace that may not be read any more, which is left alone
until it may, and resource versions that go back, as after the restore of a backup.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from seedbed_api.pod_contract.labels import POD_SELECTOR
from seedbed_operator.informer_cache.cache import Keys, Mark, Stores
from seedbed_operator.kube_client.client_interface import Cluster, ClusterError, Refused
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SWEEPS, JobKey, Kind

SETTLE_SECONDS: Final = 2.0
"""How long a request waits for others to join it."""
RETRY_SECONDS: Final = 5.0
WAKE_ALL_EVERY: Final = 5
"""Each so many sweeps every unfinished job is woken, whether or not it changed."""

_IN_NAMESPACES: Final = ((PODS, POD_SELECTOR), (JOBS, ""), (SWEEPS, ""))
"""Pods before the jobs that depend on them."""

log = logging.getLogger(__name__)


class Sweeper:
    """Fills the stores from lists and wakes the jobs that this changes."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        wake: Callable[[Iterable[JobKey]], None],
        namespaces: Sequence[str | None],
        lost: Callable[[str], None] = lambda namespace: None,  # noqa: ARG005
    ) -> None:
        """`lost` is told of a namespace that may not be read any more."""
        self._cluster = cluster
        self._stores = stores
        self._wake = wake
        self._namespaces = namespaces
        self._lost = lost
        self._requested = asyncio.Event()
        self.sweeps = 0
        self.ghosts = 0
        self.last: float | None = None
        """When the last sweep that succeeded began, on the clock of the event loop."""
        self.away: dict[str, str] = {}
        """Why a namespace may not be read: it is gone, or not there yet, or a right was withdrawn."""
        self.watch_anew = asyncio.Event()
        """Set where what the watches see is not what should be seen any more."""

    @property
    def readable(self) -> tuple[str, ...]:
        """Return the namespaces that may be read, of those that are named."""
        named = (namespace for namespace in self._namespaces if namespace is not None)
        return tuple(namespace for namespace in named if namespace not in self.away)

    def request(self) -> None:
        """Ask for a sweep soon: the watch has a gap."""
        self._requested.set()

    async def sweep(self) -> None:
        """List everything once; raise where the API server fails, or no namespace may be read."""
        began = asyncio.get_running_loop().time()
        self._requested.clear()
        self._wake(await self._sweep_kind(PROFILES, None, ""))
        refusals = [await self._sweep_namespace(namespace) for namespace in self._namespaces]
        if all(refusals) and refusals[0] is not None:
            raise refusals[0]
        if self.sweeps % WAKE_ALL_EVERY == 0:
            self._wake(self._stores.unfinished())
        self.sweeps += 1
        self.last = began

    async def run(self, seconds: float) -> None:
        """Sweep again and again, at once where it was asked for; a failure is tried again soon."""
        delay = seconds
        while True:
            await self._wait(delay * random.uniform(0.9, 1.1))
            try:
                await self.sweep()
                delay = seconds
            except ClusterError as error:
                log.warning("sweep failed: %s", error)
                delay = min(RETRY_SECONDS, seconds)

    async def find_lost(self) -> bool:
        """Look whether a namespace may not be listed or watched any more; tell whether one was found."""
        known = set(self.away)
        for namespace in self.readable:
            if not await self._may_watch(namespace):
                self._goes(namespace, Refused(403, "Forbidden", "may not be listed or watched"))
        return set(self.away) != known

    def age(self) -> float | None:
        """Return how long ago the last sweep that succeeded began; None before the first."""
        return None if self.last is None else asyncio.get_running_loop().time() - self.last

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._requested.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(min(SETTLE_SECONDS, seconds))

    async def _sweep_namespace(self, namespace: str | None) -> Refused | None:
        """List a namespace, or all of them; return why one that is named may not be read."""
        if namespace in self.away and not await self._may_watch(namespace):
            self._wake(self._stores.forget(namespace))
            return Refused(403, "Forbidden", self.away[namespace])
        try:
            for kind, labels in _IN_NAMESPACES:
                self._wake(await self._sweep_kind(kind, namespace, labels))
        except Refused as refused:
            if namespace is None or refused.code != 403:
                raise
            self._goes(namespace, refused)
            return refused
        if namespace is not None and self.away.pop(namespace, None) is not None:
            log.warning("namespace %s may be read again: its jobs go on", namespace)
            self.watch_anew.set()
        return None

    async def _may_watch(self, namespace: str) -> bool:
        verbs = ((verb, kind) for verb in ("list", "watch") for kind, _ in _IN_NAMESPACES)
        return all([await self._cluster.allows(verb, kind, namespace) for verb, kind in verbs])

    def _goes(self, namespace: str, refused: Refused) -> None:
        """Leave a namespace alone: nothing of it is kept, so that nothing stale is told of it."""
        if namespace not in self.away:
            log.warning("namespace %s may not be read, its jobs are left alone: %s", namespace, refused)
            self.watch_anew.set()
        self.away[namespace] = refused.message
        self._wake(self._stores.forget(namespace))
        self._lost(namespace)

    async def _sweep_kind(self, kind: Kind, namespace: str | None, labels: str) -> Keys:
        listed: set[str] = set()
        changed: set[JobKey] = set()
        version, since = 0, self._stores.mark(kind)
        async for page in self._cluster.pages(kind, namespace, labels=labels):
            version = int(page.resource_version)
            for raw in page.items:
                if version < since.newest or self._stores.contradicts(kind, raw, version, since):
                    since = self._begins_anew(kind, version)
                listed.add(raw["metadata"]["uid"])
                changed |= self._stores.put(kind, raw)
        if version < since.newest:
            self._begins_anew(kind, version)
        ghosts = self._stores.drop_ghosts(kind, namespace, listed, version)
        self.ghosts += len(ghosts)
        return frozenset(changed | ghosts)

    def _begins_anew(self, kind: Kind, version: int) -> Mark:
        """Believe this list and forget what was known: it is of an earlier history than what was seen."""
        log.error(
            "the history of %s at the API server went back to resource version %d, as after the restore of a "
            "backup: everything is listed and watched anew",
            kind.plural,
            version,
        )
        self._stores.rewind(kind)
        self.watch_anew.set()
        return self._stores.mark(kind)
