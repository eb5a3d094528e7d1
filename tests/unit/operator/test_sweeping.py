"""Lists mend what the watch lost; a sweep that fails is tried again; a gap in the watch asks for one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import pytest

from scenarios.operator.api_server import ApiServer
from seedbed_operator import sweeping
from seedbed_operator.cluster.kinds import JOBS, PODS, PROFILES
from seedbed_operator.cluster.port import Unanswered
from seedbed_operator.stores.stores import Stores
from seedbed_operator.stores.tables import JobKey, Key
from seedbed_operator.sweeping import Sweeper
from seedbed_operator.watching import FIRST_LIST_SECONDS, Feed
from unit.operator.planning.builders import IMAGE, a_recipe

JOB = JobKey("team", "seedlings")


class Ground:
    """A cluster, stores and what was woken."""

    def __init__(self, *namespaces: str) -> None:
        self.server, self.stores, self.woken = ApiServer(), Stores(), set[Key]()
        self.sweeper = Sweeper(self.server, self.stores, self.wake, namespaces or (None,))
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        self.apply_job()

    def wake(self, keys: Iterable[Key]) -> None:
        self.woken |= set(keys)

    def apply_job(self, name: str = "seedlings", namespace: str = "team") -> None:
        self.server.apply(JOBS, {"metadata": {"name": name, "namespace": namespace}, "spec": a_recipe()})

    def apply_pod(self, name: str, **labels: str) -> None:
        ours = {"app.kubernetes.io/managed-by": "seedbed", "seedbed.dev/job": "seedlings"}
        ours |= {"seedbed.dev/role": "worker", "seedbed.dev/attempt": "1"} | labels
        metadata = {"name": name, "namespace": "team", "labels": ours}
        self.server.apply(PODS, {"metadata": metadata, "spec": {"containers": []}})

    def sweep(self) -> set[Key]:
        self.woken = set()
        asyncio.run(self.sweeper.sweep())
        return self.woken


def test_the_first_sweep_fills_the_stores_and_wakes_every_job() -> None:
    ground = Ground()
    for number in range(8):
        ground.apply_pod(f"seedlings-1-worker-{number}")
    ground.apply_pod("another-operators", **{"app.kubernetes.io/managed-by": "somebody"})
    assert ground.sweep() == {JOB}
    assert ground.stores.counts() == {"trainingjobs": 1, "sweepjobs": 0, "pods": 8, "trainingprofiles": 1}


def test_a_deletion_that_nobody_told_of_is_noticed_within_one_sweep() -> None:
    ground = Ground()
    ground.apply_pod("seedlings-1-worker-0")
    ground.sweep()
    ground.server.vanish(ground.server.all(PODS)[0])
    assert ground.sweep() == {JOB}
    assert ground.stores.pods(JOB) == ()
    ground.server.remove(JOBS, *JOB[:2])
    assert ground.sweep() == {JOB}
    assert ground.stores.job(JOB) is None
    assert ground.sweeper.ghosts == 2


def test_an_unchanged_cluster_wakes_nobody_but_every_fifth_time() -> None:
    ground = Ground()
    assert [bool(ground.sweep()) for _ in range(6)] == [True, False, False, False, False, True]


def test_namespaces_that_are_not_served_are_not_seen() -> None:
    ground = Ground("team")
    ground.apply_job("other", "elsewhere")
    assert ground.sweep() == {JOB}


def test_a_failed_sweep_is_tried_again_and_its_age_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "RETRY_SECONDS", 0.01)
    ground = Ground()

    async def story() -> None:
        task = asyncio.create_task(ground.sweeper.run(0.05))
        ground.server.down = True
        await asyncio.sleep(0.15)
        assert ground.sweeper.age() is None
        ground.server.down = False
        while ground.sweeper.last is None:
            await asyncio.sleep(0.01)
        assert ground.sweeper.age() is not None
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 120))


def test_requests_join_in_one_sweep_that_comes_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweeping, "SETTLE_SECONDS", 0.2)
    ground = Ground()

    async def story() -> None:
        task = asyncio.create_task(ground.sweeper.run(3600))
        await asyncio.sleep(0)
        for _ in range(5):
            ground.sweeper.request()
            await asyncio.sleep(0)
        while ground.sweeper.sweeps < 1:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        assert ground.sweeper.sweeps == 1
        task.cancel()

    asyncio.run(asyncio.wait_for(story(), 120))


def test_a_second_list_of_the_watch_asks_for_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    ground, gaps = Ground(), list[str]()

    async def story() -> None:
        feed = Feed(ground.stores, ground.wake, lambda: gaps.append("gap"))
        listed: dict[str, Any] = {"type": None, "object": ground.server.all(JOBS)[0]}
        feed.take(JOBS, listed)
        assert (gaps, ground.woken) == ([], {JOB})
        feed._began -= FIRST_LIST_SECONDS
        feed.take(JOBS, {**listed, "type": "MODIFIED"})
        assert gaps == []
        feed.take(JOBS, listed)
        assert gaps == ["gap"]
        feed.take(JOBS, {**listed, "type": "DELETED"})
        assert ground.stores.job(JOB) is None

    asyncio.run(story())


def test_a_list_that_breaks_off_removes_nothing() -> None:
    ground = Ground()
    for number in range(8):
        ground.apply_pod(f"seedlings-1-worker-{number}")
    ground.sweep()

    async def broken(*_: Any, **__: Any) -> Any:
        async for page in ApiServer.pages(ground.server, PODS, None):
            yield page
            raise Unanswered("half way")

    ground.server.pages = broken  # type: ignore[method-assign]
    with pytest.raises(Unanswered):
        ground.sweep()
    assert ground.stores.counts()["pods"] == 8
