"""List everything now and then: a watch that lost an event, or sits blind, is mended by what is listed.

The age of the last sweep is what the liveness probe asks for: a sweep shows that the API server answers.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from seedbed_operator.cluster.kinds import JOBS, OUR_PODS, PODS, PROFILES, SWEEPS, Kind
from seedbed_operator.cluster.port import Cluster, ClusterError
from seedbed_operator.stores.stores import Keys, Stores
from seedbed_operator.stores.tables import JobKey

SETTLE_SECONDS: Final = 2.0
"""How long a request waits for others to join it."""
RETRY_SECONDS: Final = 5.0
WAKE_ALL_EVERY: Final = 5
"""Each so many sweeps every unfinished job is woken, whether or not it changed."""

log = logging.getLogger(__name__)


class Sweeper:
    """Fills the stores from lists and wakes the jobs that this changes."""

    def __init__(
        self,
        cluster: Cluster,
        stores: Stores,
        wake: Callable[[Iterable[JobKey]], None],
        namespaces: Sequence[str | None],
    ) -> None:
        self._cluster = cluster
        self._stores = stores
        self._wake = wake
        self._namespaces = namespaces
        self._requested = asyncio.Event()
        self.sweeps = 0
        self.ghosts = 0
        self.last: float | None = None
        """When the last sweep that succeeded began, on the clock of the event loop."""

    def request(self) -> None:
        """Ask for a sweep soon: the watch has a gap."""
        self._requested.set()

    async def sweep(self) -> None:
        """List everything once; profiles and pods before the jobs that depend on them."""
        began = asyncio.get_running_loop().time()
        self._requested.clear()
        for kind, labels in ((PROFILES, ""), (PODS, OUR_PODS), (JOBS, ""), (SWEEPS, "")):
            for namespace in self._namespaces if kind.namespaced else (None,):
                self._wake(await self._sweep_kind(kind, namespace, labels))
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

    def age(self) -> float | None:
        """Return how long ago the last sweep that succeeded began; None before the first."""
        return None if self.last is None else asyncio.get_running_loop().time() - self.last

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._requested.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(min(SETTLE_SECONDS, seconds))

    async def _sweep_kind(self, kind: Kind, namespace: str | None, labels: str) -> Keys:
        listed: set[str] = set()
        changed: set[JobKey] = set()
        version = 0
        async for page in self._cluster.pages(kind, namespace, labels=labels):
            version = int(page.resource_version)
            for raw in page.items:
                listed.add(raw["metadata"]["uid"])
                changed |= self._stores.put(kind, raw)
        ghosts = self._stores.drop_ghosts(kind, namespace, listed, version)
        self.ghosts += len(ghosts)
        return frozenset(changed | ghosts)
