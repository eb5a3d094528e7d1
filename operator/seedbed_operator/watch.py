"""kopf watches and we listen: each event goes into the cache and wakes the jobs that it changes.

Only `on.event`: no handler of kopf's puts a finalizer or an annotation on anything.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import kopf
from kubernetes.aio.client.configuration import Configuration

from seedbed_api.pod_contract.labels import POD_SELECTOR
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, SWEEPS, JobKey, ResourceKind

FIRST_LIST_SECONDS: Final = 30.0
"""Within so long after the start, listed objects are those of the first list; later a gap was bridged."""
CHUNK: Final = 200
EXIT_SECONDS: Final = 20.0

log = logging.getLogger(__name__)


class WatchEventHandler:
    """Takes the events of the watches."""

    def __init__(
        self, cache: InformerCache, enqueue: Callable[[Iterable[JobKey]], None], gap: Callable[[], None]
    ) -> None:
        self._cache = cache
        self._enqueue = enqueue
        self._gap = gap
        self._began = asyncio.get_running_loop().time()
        self.last: float | None = None
        """When the last event came, on the clock of the event loop."""

    def handle(self, kind: ResourceKind, event: Mapping[str, Any]) -> None:
        """Take over one event; one without a type is of a list, a later one where a watch has lost track."""
        self.last = asyncio.get_running_loop().time()
        raw, metadata = event["object"], event["object"]["metadata"]
        if event["type"] == "DELETED":
            key = (metadata.get("namespace", ""), metadata["name"])
            self._enqueue(self._cache.drop(kind, key, metadata["uid"]))
            return
        self._enqueue(self._cache.put(kind, raw))
        if event["type"] is None and asyncio.get_running_loop().time() - self._began > FIRST_LIST_SECONDS:
            self._gap()


class KopfWatch:
    """kopf, watching in a thread and on an event loop of its own.

    When it ends, kopf cancels every task of its loop that began after it; and it takes signals where it can.
    """

    def __init__(
        self, feed: WatchEventHandler, configuration: Configuration, namespaces: Sequence[str] | None
    ) -> None:
        """`namespaces` are those to watch; None for all of them."""
        self._feed = feed
        self._configuration = configuration
        self._namespaces = namespaces
        self._main = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._main.create_future()
        self._stopped = False
        self._stop: Callable[[], object] = lambda: None

    async def run(self) -> None:
        """Watch until told to stop; raise what ends it."""
        threading.Thread(target=self._work, name="watch", daemon=True).start()
        await asyncio.shield(self._ended)

    def stop(self) -> None:
        """Let it end; `run` returns when it has."""
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
            registry=handler_registry(self._take, self._connection),
            settings=kopf_settings(),
            standalone=True,
            clusterwide=self._namespaces is None,
            namespaces=self._namespaces or (),
            stop_flag=stopping,
        )

    def _take(self, kind: ResourceKind, event: Mapping[str, Any]) -> None:
        self._main.call_soon_threadsafe(self._feed.handle, kind, event)

    async def _connection(self) -> kopf.ConnectionInfo:
        asked = asyncio.run_coroutine_threadsafe(kopf_connection(self._configuration), self._main)
        return await asyncio.wrap_future(asked)

    def _settle(self, error: BaseException | None) -> None:
        if self._ended.cancelled():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)


def handler_registry(
    take: Callable[[ResourceKind, Mapping[str, Any]], None],
    connection: Callable[[], Awaitable[kopf.ConnectionInfo]],
) -> kopf.OperatorRegistry:
    """Return the handlers: one per kind, and the log-in with our own connection."""
    handlers = kopf.OperatorRegistry()
    for kind in (JOBS, SWEEPS, PODS, PROFILES):
        _register_handler(handlers, take, kind)

    @kopf.on.login(registry=handlers)
    async def log_in(**_: Any) -> kopf.ConnectionInfo:
        return await connection()

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
    """Return our connection in kopf's words; asked for again when a token has expired."""
    header = await configuration.get_api_key_with_prefix("BearerToken", alias="authorization") or ""
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        token=header.partition(" ")[2] or header or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
    )


def kopf_settings() -> kopf.OperatorSettings:
    """Return kopf's settings: no scanning of CRDs, no events of its own, patience with the API server."""
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
    """Nothing is compared with what was handled last: kopf's own copies each object deeply at every event."""

    def build(self, *, body: kopf.Body, extra_fields: object = None) -> kopf.BodyEssence:  # noqa: ARG002
        """Return nothing of the object."""
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:  # noqa: ARG002
        """Return that nothing was handled before."""
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        """Leave the object as it is."""


class NoProgressStorage(kopf.ProgressStorage):
    """Handlers of events have no progress to keep, and none is looked for."""

    def fetch(self, *, key: str, body: kopf.Body) -> None:
        """Return that there is none."""

    def store(self, *, key: str, record: object, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object as it is."""

    def purge(self, *, key: str, body: kopf.Body, patch: kopf.Patch) -> None:
        """Leave the object as it is."""

    def touch(self, *, body: kopf.Body, patch: kopf.Patch, value: str | None) -> None:
        """Leave the object as it is."""

    def clear(self, *, essence: kopf.BodyEssence) -> kopf.BodyEssence:
        """Return what there is, not a copy of it."""
        return essence


def _backoffs() -> list[float]:
    """Return delays of two minutes altogether, no two processes alike."""
    steps = (0.5, 1, 2, 3, 5, 8, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10)
    return [step * random.uniform(0.7, 1.3) for step in steps]
