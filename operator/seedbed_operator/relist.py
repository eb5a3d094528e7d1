"""List all objects periodically: this corrects the cache where a watch lost events or hangs.

The liveness probe uses the age of the last relist. A relist also detects a namespace that can no longer be
read, which is then left alone, and resource versions that go back, as after the restore of a backup.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from seedbed_api.pod_contract.labels import POD_SELECTOR
from seedbed_operator.informer_cache.cache import HistoryMark, InformerCache, JobKeys
from seedbed_operator.kube_client.client_interface import ApiError, ApiStatusError, KubeClient
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SWEEPS, JobKey, ResourceKind

SETTLE_SECONDS: Final = 2.0
"""Delay that collects several requests into one relist."""
RETRY_SECONDS: Final = 5.0
ENQUEUE_ALL_EVERY: Final = 5
"""Every such relist enqueues all unfinished jobs, changed or not."""

_IN_NAMESPACES: Final = ((PODS, POD_SELECTOR), (JOBS, ""), (SWEEPS, ""))
"""Pods before the jobs that own them."""

log = logging.getLogger(__name__)


class Relister:
    """Fills the cache from lists and enqueues the jobs that changed."""

    def __init__(
        self,
        cluster: KubeClient,
        cache: InformerCache,
        enqueue: Callable[[Iterable[JobKey]], None],
        namespaces: Sequence[str | None],
        lost: Callable[[str], None] = lambda namespace: None,  # noqa: ARG005
    ) -> None:
        """`lost` is called with a namespace that can no longer be read."""
        self._cluster = cluster
        self._cache = cache
        self._enqueue = enqueue
        self._namespaces = namespaces
        self._lost = lost
        self._requested = asyncio.Event()
        self.relists = 0
        self.corrections = 0
        self.last: float | None = None
        """Start of the last successful relist, on the clock of the event loop."""
        self.unreadable: dict[str, str] = {}
        """Why a namespace cannot be read: it does not exist, or a permission is missing."""
        self.restart_watch = asyncio.Event()
        """Set when the watches must restart with other namespaces or another history."""

    @property
    def readable(self) -> tuple[str, ...]:
        """Return the configured namespaces that can be read."""
        named = (namespace for namespace in self._namespaces if namespace is not None)
        return tuple(namespace for namespace in named if namespace not in self.unreadable)

    def request(self) -> None:
        """Request a relist soon: the watch has a gap."""
        self._requested.set()

    async def relist(self) -> None:
        """List everything once; raise where the API server fails or no namespace can be read."""
        began = asyncio.get_running_loop().time()
        self._requested.clear()
        self._enqueue(await self._relist_kind(PROFILES, None, ""))
        refusals = [await self._relist_namespace(namespace) for namespace in self._namespaces]
        if all(refusals) and refusals[0] is not None:
            raise refusals[0]
        if self.relists % ENQUEUE_ALL_EVERY == 0:
            self._enqueue(self._cache.unfinished())
        self.relists += 1
        self.last = began

    async def run(self, seconds: float) -> None:
        """Relist periodically and on request; retry a failed relist soon."""
        delay = seconds
        while True:
            await self._wait(delay * random.uniform(0.9, 1.1))
            try:
                await self.relist()
                delay = seconds
            except ApiError as error:
                log.warning("relist failed: %s", error)
                delay = min(RETRY_SECONDS, seconds)

    async def find_unreadable(self) -> bool:
        """Check for namespaces that can no longer be listed or watched; return whether one was found."""
        known = set(self.unreadable)
        for namespace in self.readable:
            if not await self._may_watch(namespace):
                self._mark_unreadable(namespace, ApiStatusError(403, "Forbidden", "may not list or watch"))
        return set(self.unreadable) != known

    def age(self) -> float | None:
        """Return the seconds since the last successful relist began; None before the first."""
        return None if self.last is None else asyncio.get_running_loop().time() - self.last

    async def _wait(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._requested.wait(), seconds)
        except TimeoutError:
            return
        await asyncio.sleep(min(SETTLE_SECONDS, seconds))

    async def _relist_namespace(self, namespace: str | None) -> ApiStatusError | None:
        """List a namespace, or all; return why a configured namespace cannot be read."""
        if namespace in self.unreadable and not await self._may_watch(namespace):
            self._enqueue(self._cache.forget(namespace))
            return ApiStatusError(403, "Forbidden", self.unreadable[namespace])
        try:
            for kind, labels in _IN_NAMESPACES:
                self._enqueue(await self._relist_kind(kind, namespace, labels))
        except ApiStatusError as refused:
            if namespace is None or refused.code != 403:
                raise
            self._mark_unreadable(namespace, refused)
            return refused
        if namespace is not None and self.unreadable.pop(namespace, None) is not None:
            log.warning("namespace %s can be read again, its jobs are reconciled again", namespace)
            self.restart_watch.set()
        return None

    async def _may_watch(self, namespace: str) -> bool:
        verbs = ((verb, kind) for verb in ("list", "watch") for kind, _ in _IN_NAMESPACES)
        return all([await self._cluster.allows(verb, kind, namespace) for verb, kind in verbs])

    def _mark_unreadable(self, namespace: str, refused: ApiStatusError) -> None:
        """Leave a namespace alone and remove it from the cache, so that nothing stale is reported."""
        if namespace not in self.unreadable:
            log.warning("namespace %s cannot be read, its jobs are left alone: %s", namespace, refused)
            self.restart_watch.set()
        self.unreadable[namespace] = refused.message
        self._enqueue(self._cache.forget(namespace))
        self._lost(namespace)

    async def _relist_kind(self, kind: ResourceKind, namespace: str | None, labels: str) -> JobKeys:
        listed: set[str] = set()
        changed: set[JobKey] = set()
        version, since = 0, self._cache.mark(kind)
        async for page in self._cluster.pages(kind, namespace, labels=labels):
            version = int(page.resource_version)
            for raw in page.items:
                projection = self._cache.project(kind, raw)
                del raw  # before the next one is decoded
                if projection is None:
                    continue
                if version < since.newest or self._cache.shows_rewritten_history(projection, version, since):
                    since = self._restart_history(kind, version)
                listed.add(projection.entry.uid)
                changed |= self._cache.store(projection)
        if version < since.newest:
            self._restart_history(kind, version)
        corrections = self._cache.drop_missing(kind, namespace, listed, version)
        self.corrections += len(corrections)
        return frozenset(changed | corrections)

    def _restart_history(self, kind: ResourceKind, version: int) -> HistoryMark:
        """Trust this list and reset versions: it belongs to an earlier history than the cache."""
        log.error(
            "the resource version of %s went back to %d, as after the restore of a backup of the API server: "
            "listing and watching everything again",
            kind.plural,
            version,
        )
        self._cache.accept_older_versions(kind)
        self.restart_watch.set()
        return self._cache.mark(kind)
