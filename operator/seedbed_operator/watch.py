"""Watch jobs, pods and profiles with kopf: each event updates the cache and enqueues the jobs it affects.

Only `on.event` handlers: kopf sets no finalizers and no annotations.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import kopf
from kubernetes.aio.client.configuration import Configuration

from seedbed_api.pod_contract.labels import POD_SELECTOR
from seedbed_operator.informer_cache.cache import InformerCache, Projection
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SWEEPS, JobKey, ResourceKind

FIRST_LIST_SECONDS: Final = 30.0
"""Listed objects later than this after the start mean that a watch was interrupted."""
CHUNK: Final = 1
"""kopf lists only to learn the resource version from which it watches; the relist reads the objects."""
EXIT_SECONDS: Final = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class WatchChange:
    """What is kept of a watch event."""

    type: str | None
    """ADDED, MODIFIED, DELETED; None from a list."""
    projection: Projection


class WatchEventHandler:
    """Applies watch events to the cache."""

    def __init__(
        self, cache: InformerCache, enqueue: Callable[[Iterable[JobKey]], None], gap: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self.gap = gap
        """Called when events may have been missed: a relist is needed."""
        self._began = asyncio.get_running_loop().time()
        self.last: float | None = None
        """Time of the last event, on the clock of the event loop."""

    def handle(self, kind: ResourceKind, event: Mapping[str, Any]) -> None:
        """Apply one event. One without a type comes from a list; after the start that means a gap."""
        change = self.change(kind, event)
        if change is not None:
            self.apply(change)

    def change(self, kind: ResourceKind, event: Mapping[str, Any]) -> WatchChange | None:
        """Return what is kept of an event; None where its object cannot be read. Any thread may call it."""
        projection = self._cache.project(kind, event["object"])
        return None if projection is None else WatchChange(type=event["type"], projection=projection)

    def apply(self, change: WatchChange) -> None:
        """Apply what is kept of an event."""
        self.last = asyncio.get_running_loop().time()
        projection = change.projection
        if change.type == "DELETED":
            self._enqueue(self._cache.drop(projection.kind, projection.key, projection.entry.uid))
            return
        self._enqueue(self._cache.store(projection))
        if change.type is None and asyncio.get_running_loop().time() - self._began > FIRST_LIST_SECONDS:
            self.gap()


class KopfWatch:
    """kopf in its own thread and event loop.

    When kopf ends, it cancels every later task of its loop, and it installs signal handlers.
    """

    def __init__(
        self, feed: WatchEventHandler, configuration: Configuration, namespaces: Sequence[str] | None
    ) -> None:
        """`namespaces` are the ones to watch; None for all."""
        self._feed = feed
        self._configuration = configuration
        self._namespaces = namespaces
        self._main = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._main.create_future()
        self._stopped = False
        self._stop: Callable[[], object] = lambda: None

    async def run(self) -> None:
        """Watch until `stop` is called; raise the error that ends it."""
        threading.Thread(target=self._work, name="watch", daemon=True).start()
        await asyncio.shield(self._ended)

    def stop(self) -> None:
        """Stop watching; `run` returns when kopf has ended."""
        self._stopped = True
        self._stop()

    def _work(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._watch())
        except BaseException as raised:
            error = raised
        with suppress(RuntimeError):  # the process has ended meanwhile
            self._main.call_soon_threadsafe(self._settle, error)

    async def _watch(self) -> None:
        loop, stopping = asyncio.get_running_loop(), asyncio.Event()

        def stop() -> None:
            with suppress(RuntimeError):  # it has ended already
                loop.call_soon_threadsafe(stopping.set)

        self._stop = stop
        if self._stopped:
            return
        await kopf.operator(
            registry=handler_registry(self._take, self._session),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=self._namespaces is None,
            namespaces=self._namespaces or (),
            stop_flag=stopping,
        )

    def _take(self, kind: ResourceKind, event: Mapping[str, Any]) -> None:
        """Hand over what is kept of an event: raw objects must not wait for the main loop in a queue."""
        change = self._feed.change(kind, event)
        if change is not None:
            self._main.call_soon_threadsafe(self._feed.apply, change)

    def _listed(self) -> None:
        self._main.call_soon_threadsafe(self._feed.gap)

    async def _session(self) -> kopf.AiohttpSession:
        asked = asyncio.run_coroutine_threadsafe(kopf_connection(self._configuration), self._main)
        return kopf_session(await asyncio.wrap_future(asked), self._listed)

    def _settle(self, error: BaseException | None) -> None:
        if self._ended.cancelled():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def handler_registry(
    take: Callable[[ResourceKind, Mapping[str, Any]], None],
    session: Callable[[], Awaitable[kopf.AiohttpSession]],
) -> kopf.OperatorRegistry:
    """Return one event handler per kind, and the log-in with our own connection."""
    handlers = kopf.OperatorRegistry()
    for kind in (JOBS, SWEEPS, PODS, PROFILES):
        _register_handler(handlers, take, kind)

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.AiohttpSession:
        return await session()

    return handlers


def _register_handler(
    handlers: kopf.OperatorRegistry,
    take: Callable[[ResourceKind, Mapping[str, Any]], None],
    kind: ResourceKind,
) -> None:
    @kopf.on.event(kind.group, kind.version, kind.plural, id=kind.plural, registry=handlers)
    async def driver_responses(event: Mapping[str, Any], **_: Any) -> None:
        take(kind, event)


async def kopf_connection(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return our connection for kopf, which asks again when a token has expired."""
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=header.partition(" ")[2] or header or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


def kopf_session(info: kopf.ConnectionInfo, listed: Callable[[], None]) -> kopf.AiohttpSession:
    """Return a session for kopf's loop that leaves out the objects of lists and calls `listed` after each."""

    class ListResponse(aiohttp.ClientResponse):
        async def json(self, **given: Any) -> Any:
            document = await super().json(**given)
            if "limit" not in self.url.query:
                return document
            listed()
            metadata = {name: value for name, value in document["metadata"].items() if name != "continue"}
            return {**document, "metadata": metadata, "items": []}

    session = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
        headers=info.as_http_headers(),
        response_class=ListResponse,
    )
    return kopf.AiohttpSession(server=info.server, aiohttp_session=session)


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no CRD scanning, no Events, long retries."""
    chosen = kopf.OperatorSettings()
    chosen.posting.enabled = False
    chosen.peering.standalone = True
    chosen.scanning.disabled = True
    chosen.process.ultimate_exiting_timeout = EXIT_SECONDS
    chosen.queueing.idle_timeout = 0.05
    chosen.watching.chunk_size = CHUNK
    chosen.watching.label_selectors[PODS.plural] = POD_SELECTOR
    chosen.persistence.diffbase_storage = NoDiffBaseStorage()
    chosen.persistence.progress_storage = NoProgressStorage()
    chosen.networking.connect_timeout = 5
    chosen.networking.request_timeout = 60
    chosen.networking.error_backoffs = _backoffs()
    return chosen


class NoDiffBaseStorage(kopf.DiffBaseStorage):
    """No diffs: kopf's own storage deep-copies each object at every event."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Return an empty essence."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Return None: nothing was handled before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Leave the object as it is."""


class NoProgressStorage(kopf.ProgressStorage):
    """Event handlers have no progress to store."""

    def fetch(self, *, key: str, body: kopf.Body) -> None:
        """Return nothing."""

    def store(self, *, key: str, record: object, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object as it is."""

    def purge(self, *, key: str, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object as it is."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Leave the object as it is."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return the essence without a copy."""
        return essence


def _backoffs() -> list[float]:
    """Return delays of two minutes in total, with jitter."""
    steps = (0.5, 1, 2, 3, 5, 8, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10)
    return [step * random.uniform(0.7, 1.3) for step in steps]
