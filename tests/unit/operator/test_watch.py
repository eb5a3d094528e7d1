"""kopf watches on an event workqueue of its own: what it does there when it ends touches nothing of ours."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, cast

import kopf
import pytest
from kubernetes.aio.client.configuration import Configuration

from seedbed_api.errors import InfrastructureError
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.resource_kinds import JOBS
from seedbed_operator.manager.leader_loop import Operator, _run_watches
from seedbed_operator.relist import Relister
from seedbed_operator.watch import KopfWatch, WatchEventHandler
from support.operator.fake_api_server import ApiServer

Kopf = Callable[..., Awaitable[None]]
JOB = {
    "type": "ADDED",
    "object": {"metadata": {"name": "digits", "namespace": "team", "uid": "1", "resourceVersion": "7"}},
}


class Ground:
    """An operator with a kopf of the test's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, behaves: Kopf) -> None:
        self.begun: list[tuple[str, ...]] = []
        self.behaves = behaves
        self.server, self.cache = ApiServer(), InformerCache()
        monkeypatch.setattr(kopf, "operator", self._kopf)

    async def _kopf(self, **given: Any) -> None:
        self.begun.append(tuple(given["namespaces"]))
        await self.behaves(**given)

    def operator(self, *namespaces: str) -> Operator:
        relister = Relister(self.server, self.cache, lambda keys: None, namespaces or (None,))
        settings = SimpleNamespace(all_namespaces=not namespaces)
        parts = {
            "settings": settings,
            "configuration": Configuration(),
            "cache": self.cache,
            "relister": relister,
        }
        workqueue, health = SimpleNamespace(enqueue=lambda keys: None), SimpleNamespace(watch_events=None)
        return cast("Operator", SimpleNamespace(**parts, workqueue=workqueue, health=health))


async def until_stopped(*, stop_flag: asyncio.Event, **_: Any) -> None:
    await stop_flag.wait()


def test_what_kopf_cancels_when_it_ends_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    async def ends(**_: Any) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        raise ValueError("403")

    ground = Ground(monkeypatch, ends)

    async def story() -> None:
        beside = asyncio.create_task(asyncio.sleep(3600))
        watch_events = WatchEventHandler(ground.cache, lambda keys: None, lambda: None)
        with pytest.raises(ValueError, match="403"):
            await KopfWatch(watch_events, Configuration(), ("team",)).run()
        assert not beside.done()
        beside.cancel()

    asyncio.run(story())


def test_events_arrive_on_our_loop_and_a_watch_that_is_stopped_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    async def tells(*, registry: kopf.OperatorRegistry, stop_flag: asyncio.Event, **_: Any) -> None:
        handlers = {handler.id: handler for handler in registry._watching.get_all_handlers()}
        await handlers[JOBS.plural].fn(event=JOB)
        await stop_flag.wait()

    ground = Ground(monkeypatch, tells)

    async def story() -> None:
        came = asyncio.Event()
        watch_events = WatchEventHandler(ground.cache, lambda keys: came.set(), lambda: None)
        watch = KopfWatch(watch_events, Configuration(), None)
        running = asyncio.create_task(watch.run())
        await asyncio.wait_for(came.wait(), 60)
        assert ground.cache.counts()["trainingjobs"] == 1
        watch.stop()
        await asyncio.wait_for(running, 60)

    asyncio.run(story())


def test_a_watch_that_is_refused_begins_anew_without_the_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    async def behaves(*, namespaces: tuple[str, ...], stop_flag: asyncio.Event, **_: Any) -> None:
        if "beta" in namespaces:
            raise PermissionError("403")
        await stop_flag.wait()

    ground = Ground(monkeypatch, behaves)
    ground.server.closed.add("beta")

    async def story() -> None:
        operator, closing = ground.operator("alpha", "beta"), asyncio.Event()
        watching = asyncio.create_task(_run_watches(operator, closing))
        while len(ground.begun) < 2:
            assert not watching.done()
            await asyncio.sleep(0.01)
        assert ground.begun == [("alpha", "beta"), ("alpha",)]
        closing.set()
        await asyncio.wait_for(watching, 60)

    asyncio.run(asyncio.wait_for(story(), 120))


def test_it_begins_anew_where_the_sweeps_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    ground = Ground(monkeypatch, until_stopped)

    async def story() -> None:
        operator, closing = ground.operator("alpha"), asyncio.Event()
        watching = asyncio.create_task(_run_watches(operator, closing))
        for count in (1, 2, 3):
            while len(ground.begun) < count:
                await asyncio.sleep(0.01)
            operator.relister.restart_watch.set()
        closing.set()
        await asyncio.wait_for(watching, 60)

    asyncio.run(asyncio.wait_for(story(), 120))


@pytest.mark.parametrize("namespaces", [(), ("alpha", "beta")])
def test_any_other_end_of_kopf_ends_the_operator(
    namespaces: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(**_: Any) -> None:
        raise RuntimeError("500 in the stream")

    async def leaves(**_: Any) -> None:
        return

    for behaves, error in ((fails, RuntimeError), (leaves, InfrastructureError)):
        ground = Ground(monkeypatch, behaves)

        async def story(ground: Ground = ground) -> None:
            await _run_watches(ground.operator(*namespaces), asyncio.Event())

        with pytest.raises(error):
            asyncio.run(asyncio.wait_for(story(), 60))
