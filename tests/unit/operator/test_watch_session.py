"""kopf's own lists bring no objects: the relist reads them, and each list asks for one."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import aiohttp
import kopf
from aiohttp import web
from kubernetes.aio.client.configuration import Configuration

from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.watch import KopfWatch, WatchEventHandler, kopf_session

PAGE = {
    "kind": "TrainingJobList",
    "apiVersion": "seedbed.dev/v1alpha1",
    "metadata": {"resourceVersion": "7", "continue": "more"},
    "items": [{"metadata": {"name": "digits"}}],
}


def read(path: str) -> tuple[Any, int]:
    """Return what kopf reads at a path, and how many lists were told of."""

    async def story() -> tuple[Any, int]:
        async def answer(_: web.Request) -> web.Response:
            return web.json_response(PAGE)

        app, lists = web.Application(), list[int]()
        app.router.add_get("/{path:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        server = f"http://127.0.0.1:{runner.addresses[0][1]}"
        context = kopf_session(kopf.ConnectionInfo(server=server, token="secret"), lambda: lists.append(1))
        session: aiohttp.ClientSession = context.aiohttp_session
        assert session.headers["Authorization"] == "Bearer secret"
        async with session.get(f"{server}{path}") as response:
            document = await response.json()
        await session.close()
        await runner.cleanup()
        return document, len(lists)

    return asyncio.run(story())


def test_a_list_is_read_without_objects_and_ends_with_its_first_page() -> None:
    document, lists = read("/apis/seedbed.dev/v1alpha1/trainingjobs?limit=1")
    assert document == {**PAGE, "metadata": {"resourceVersion": "7"}, "items": []}
    assert lists == 1


def test_anything_else_is_read_as_it_is() -> None:
    assert read("/apis/seedbed.dev/v1alpha1") == (PAGE, 0)


class Server:
    """Discovery, lists and watches of an API server; the watch of jobs brings one job."""

    def __init__(self) -> None:
        self.queries: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.StreamResponse:
        plural = request.path.rpartition("/")[2]
        if "watch" in request.query:
            return await self._watch(request, plural)
        if "limit" in request.query:
            self.queries.append({"path": plural, **request.query})
            return web.json_response(PAGE)
        group = {
            "name": "seedbed.dev",
            "versions": [{"version": "v1alpha1"}],
            "preferredVersion": {"version": "v1alpha1"},
        }
        served = (
            ("trainingjobs", "sweepjobs", "trainingprofiles")
            if "seedbed.dev" in request.path
            else ("pods", "namespaces")
        )
        documents = {"/api": {"versions": ["v1"]}, "/apis": {"groups": [group]}}
        verbs = ["list", "watch", "get", "patch"]
        resources = [
            {
                "name": name,
                "singularName": "",
                "kind": name,
                "namespaced": name not in ("trainingprofiles", "namespaces"),
                "verbs": verbs,
            }
            for name in served
        ]
        return web.json_response(documents.get(request.path, {"resources": resources}))

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        self.queries.append({"path": plural, **request.query})
        response = web.StreamResponse()
        await response.prepare(request)
        if plural == "trainingjobs":
            metadata = {"name": "digits", "namespace": "team", "uid": "1", "resourceVersion": "8"}
            event = {"type": "ADDED", "object": {"metadata": metadata, "kind": "TrainingJob", "spec": {}}}
            await response.write(json.dumps(event).encode() + b"\n")
        await asyncio.sleep(60)
        return response


def test_kopf_watches_from_the_version_of_a_list_of_one_and_asks_for_a_relist() -> None:
    """kopf itself against a server: it must take its connection, and what it lists, from our session."""

    async def story() -> None:
        server, cache, came, gaps = Server(), InformerCache(), asyncio.Event(), list[int]()
        app = web.Application()
        app.router.add_get("/{path:.*}", server.answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        configuration = Configuration(host=f"http://127.0.0.1:{runner.addresses[0][1]}")
        feed = WatchEventHandler(cache, lambda keys: came.set() if keys else None, lambda: gaps.append(1))
        watch = KopfWatch(feed, configuration, ("team",))
        running = asyncio.create_task(watch.run())
        await asyncio.wait_for(came.wait(), 60)
        assert cache.counts()["trainingjobs"] == 1, (
            "what was watched; the list's object is left to the relist"
        )
        lists = [query for query in server.queries if query["path"] == "trainingjobs" and "limit" in query]
        watches = [query for query in server.queries if query["path"] == "trainingjobs" and "watch" in query]
        assert [query["limit"] for query in lists] == ["1"]
        assert watches[0]["resourceVersion"] == "7"
        assert gaps
        watch.stop()
        await asyncio.wait_for(running, 60)
        await runner.cleanup()

    asyncio.run(story())
