"""Lists mend what the watch lost; a relist that fails is tried again; a gap in the watch asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from seedbed_operator import relist
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.client_interface import NoApiResponse
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey, Key
from seedbed_operator.relist import Relister
from seedbed_operator.watch import FIRST_LIST_SECONDS, WatchEventHandler
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer

JOB = JobKey("team", "seedlings")


class Ground:
    """A cluster, cache and what was woken."""

    def __init__(self, *namespaces: str) -> None:
        self.server, self.cache, self.woken = ApiServer(), InformerCache(), set[Key]()
        self.relister = Relister(self.server, self.cache, self.enqueue, namespaces or (None,))
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        self.apply_job()

    def enqueue(self, keys: Iterable[Key]) -> None:
        self.woken |= set(keys)

    def apply_job(self, name: str = "seedlings", namespace: str = "team") -> None:
        self.server.apply(JOBS, {"metadata": {"name": name, "namespace": namespace}, "spec": a_recipe()})

    def apply_pod(self, name: str, **labels: str) -> None:
        ours = {"app.kubernetes.io/managed-by": "seedbed", "seedbed.dev/job": "seedlings"}
        ours |= {"seedbed.dev/role": "worker", "seedbed.dev/attempt": "1"} | labels
        metadata = {"name": name, "namespace": "team", "labels": ours}
        self.server.apply(PODS, {"metadata": metadata, "spec": {"containers": []}})

    def relist(self) -> set[Key]:
        self.woken = set()
        asyncio.run(self.relister.relist())
        return self.woken


def test_the_first_sweep_fills_the_stores_and_wakes_every_job() -> None:
    ground = Ground()
    for number in range(8):
        ground.apply_pod(f"seedlings-1-worker-{number}")
    ground.apply_pod("another-operators", **{"app.kubernetes.io/managed-by": "somebody"})
    assert ground.relist() == {JOB}
    assert ground.cache.counts() == {"trainingjobs": 1, "sweepjobs": 0, "pods": 8, "trainingprofiles": 1}


def test_a_deletion_that_nobody_told_of_is_noticed_within_one_sweep() -> None:
    ground = Ground()
    ground.apply_pod("seedlings-1-worker-0")
    ground.relist()
    ground.server.vanish(ground.server.all(PODS)[0])
    assert ground.relist() == {JOB}
    assert ground.cache.pods(JOB) == ()
    ground.server.remove(JOBS, *JOB[:2])
    assert ground.relist() == {JOB}
    assert ground.cache.job(JOB) is None
    assert ground.relister.corrections == 2


def test_an_unchanged_cluster_wakes_nobody_but_every_fifth_time() -> None:
    ground = Ground()
    assert [bool(ground.relist()) for _ in range(6)] == [True, False, False, False, False, True]


def test_namespaces_that_are_not_served_are_not_seen() -> None:
    ground = Ground("team")
    ground.apply_job("other", "elsewhere")
    assert ground.relist() == {JOB}


def test_a_failed_sweep_is_tried_again_and_its_age_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relist, "RETRY_SECONDS", 0.01)
    ground = Ground()

    async def story() -> None:
        task = asyncio.create_task(ground.relister.run(0.05))
        ground.server.down = True
        await asyncio.sleep(0.15)
        assert ground.relister.age() is None
        ground.server.down = False
        while ground.relister.last is None:
            await asyncio.sleep(0.01)
        assert ground.relister.age() is not None
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 120))


def test_requests_join_in_one_sweep_that_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relist, "SETTLE_SECONDS", 0.2)
    ground = Ground()

    async def story() -> None:
        task = asyncio.create_task(ground.relister.run(3600))
        await asyncio.sleep(0)
        for _ in range(5):
            ground.relister.request()
            await asyncio.sleep(0)
        while ground.relister.relists < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert ground.relister.relists == 1
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 120))


def test_a_second_list_of_the_watch_asks_for_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, gaps = Ground(), list[str]()

    async def story() -> None:
        feed = WatchEventHandler(ground.cache, ground.enqueue, lambda: gaps.append("gap"))
        listed: dict[str, Any] = {"type": None, "object": ground.server.all(JOBS)[0]}
        feed.handle(JOBS, listed)
        assert (gaps, ground.woken) == ([], {JOB})
        feed._began -= FIRST_LIST_SECONDS
        feed.handle(JOBS, {**listed, "type": "MODIFIED"})
        assert gaps == []
        feed.handle(JOBS, listed)
        assert gaps == ["gap"]
        feed.handle(JOBS, {**listed, "type": "DELETED"})
        assert ground.cache.job(JOB) is None

    asyncio.run(story())


def test_a_list_that_breaks_off_removes_nothing() -> None:
    ground = Ground()
    for number in range(8):
        ground.apply_pod(f"seedlings-1-worker-{number}")
    ground.relist()

    async def broken(*_: Any, **__: Any) -> Any:
        async for page in ApiServer.pages(ground.server, PODS, None):
            yield page
            raise NoApiResponse("half way")

    ground.server.pages = broken  # type: ignore[method-assign]
    with pytest.raises(NoApiResponse):
        ground.relist()
    assert ground.cache.counts()["pods"] == 8


class Backup:
    """What an API server holds at one moment, to be restored later."""

    def __init__(self, server: ApiServer) -> None:
        self.server, self.objects, self.revision = server, dict(server.objects), server.revision

    def restore(self, writes: int = 0) -> None:
        """Go back to that moment; since then so many other writes were made."""
        self.server.objects, self.server.revision = dict(self.objects), self.revision + writes


@pytest.mark.parametrize("writes", [0, 1, 500], ids=["no write since", "a few since", "more than before"])
def test_a_restored_backup_is_believed_with_its_older_objects(writes: int) -> None:
    """A deleted pod is there again, a change is undone, what was created since is gone."""
    ground = Ground()
    ground.apply_pod("seedlings-1-worker-0")
    ground.relist()
    backup = Backup(ground.server)
    ground.server.edit(JOBS, *JOB[:2], lambda raw: raw["spec"].update(suspend=True))
    ground.apply_pod("seedlings-1-worker-1")
    ground.server.vanish(ground.server.all(PODS)[0])
    for _ in range(3):
        ground.server.edit(PROFILES, "", "default", lambda raw: raw["metadata"].update(labels={}))
    ground.relist()
    assert [pod.name for pod in ground.cache.pods(JOB)] == ["seedlings-1-worker-1"]

    backup.restore(writes)
    assert JOB in ground.relist()
    record = ground.cache.job(JOB)
    assert record is not None
    assert b"suspend" not in record.content
    assert [pod.name for pod in ground.cache.pods(JOB)] == ["seedlings-1-worker-0"]
    assert ground.relister.restart_watch.is_set(), "a watch waits for a version that may never come again"


def test_what_happens_after_a_restore_is_seen() -> None:
    ground = Ground()
    ground.relist()
    backup = Backup(ground.server)
    for _ in range(9):
        ground.server.edit(JOBS, *JOB[:2], lambda raw: raw["metadata"].update(labels={}))
    ground.relist()
    backup.restore()
    ground.relist()
    ground.server.edit(JOBS, *JOB[:2], lambda raw: raw["spec"].update(suspend=True))
    assert ground.cache.put(JOBS, ground.server.all(JOBS)[0]) == {JOB}, "told by a watch or an answer"
    ground.relister.restart_watch.clear()
    ground.relist()
    assert not ground.relister.restart_watch.is_set(), "it went back once"


def test_a_kind_whose_last_object_the_restored_backup_lacks_is_forgotten() -> None:
    ground = Ground()
    ground.relist()
    backup = Backup(ground.server)
    ground.apply_pod("seedlings-1-worker-0")
    ground.relist()
    backup.restore()
    assert JOB in ground.relist()
    assert ground.cache.pods(JOB) == ()


def test_an_answer_that_overtakes_a_list_is_no_restore() -> None:
    """A write of ours while a list is read has a larger version than the list."""
    ground = Ground()
    ground.relist()
    pages = ground.server.pages

    async def slowly(kind: Any, namespace: str | None, *, labels: str = "") -> Any:
        async for page in pages(kind, namespace, labels=labels):
            ground.server.edit(JOBS, *JOB[:2], lambda raw: raw["metadata"].update(labels={}))
            ground.cache.put(JOBS, ground.server.all(JOBS)[0])
            yield page

    ground.server.pages = slowly  # type: ignore[method-assign]
    for _ in range(3):
        ground.relist()
    assert not ground.relister.restart_watch.is_set()
