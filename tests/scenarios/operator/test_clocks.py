"""Clocks of operator, API server and nodes that differ: an operator does the same at the same moments."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.timestamps import format_time
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey
from support.operator.builders import IMAGE, a_checkpoint, a_recipe, live
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Drivers, Incarnation

KEY = JobKey("team", "seedlings")
ADDRESS = "10.0.0.7"
TEN_MINUTES = timedelta(minutes=10)
NONE = timedelta(0)
COUNTERS = (
    "attempts",
    "accountedAttempts",
    "failures",
    "infrastructureFailures",
    "preemptions",
    "attemptsWithoutCheckpoint",
)


@dataclass
class Stage:
    """A cluster with one job, an operator, and what was seen of the job at each change."""

    operator_ahead: timedelta = NONE
    nodes_ahead: timedelta = NONE
    spec: dict[str, Any] = field(default_factory=dict)
    told: list[tuple[float, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.server = ApiServer(nodes_ahead=self.nodes_ahead)
        self.began = self.server.now
        self.drivers = Drivers()
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        spec = {**a_recipe(), **self.spec}
        self.server.apply(JOBS, {"metadata": {"name": KEY[1], "namespace": KEY[0]}, "spec": spec})

    async def begin(self) -> None:
        """Begin a life of the operator, which knows of nothing that was before."""
        self.operator = Incarnation(self.server, drivers=self.drivers)
        self.operator.ahead = self.operator_ahead
        await self.operator.relist()
        await self.settle()

    async def settle(self) -> None:
        before = len(self.server.log)
        await self.operator.steps()
        for event in self.server.log[before:]:
            self.operator.receive_event(event)
        await self.operator.steps()
        self.note()

    async def change(self, do: Callable[[], Any]) -> None:
        """Let something happen, and the operator hear of it."""
        before = len(self.server.log)
        do()
        for event in self.server.log[before:]:
            self.operator.receive_event(event)
        await self.settle()

    async def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.server.now = self.began + timedelta(seconds=self.elapsed() + 1)
            await self.settle()

    def elapsed(self) -> int:
        return int((self.server.now - self.began).total_seconds())

    def note(self) -> None:
        found = {entry["type"]: entry["reason"] for entry in self.status().get("conditions", ())}
        counts = {name: self.status().get(name) for name in COUNTERS if self.status().get(name)}
        pods = [(raw["metadata"]["name"], "deletionTimestamp" in raw["metadata"]) for raw in self.pods()]
        now = (found.get("Running"), found.get("Failed"), counts, pods)
        if not self.told or self.told[-1][1] != now:
            self.told.append((self.elapsed(), now))

    def status(self) -> dict[str, Any]:
        job = self.server.find(JOBS, *KEY[:2])
        assert job is not None
        return dict(job.get("status") or {})

    def pods(self) -> list[dict[str, Any]]:
        return self.server.all(PODS, KEY[0])

    def pod(self, name: str) -> dict[str, Any]:
        found = self.server.find(PODS, KEY[0], f"seedlings-{name}")
        assert found is not None
        return found

    def start_all(self) -> None:
        for raw in self.pods():
            if raw["status"]["phase"] == "Pending":
                self.server.start(raw)

    def driver_says(self, attempt: int, step: int | None, kept: int | None = None) -> None:
        """Answer as a driver does, whose stamps are of its node's clock."""
        uid = self.server.find(JOBS, *KEY[:2])["metadata"]["uid"]  # type: ignore[index]
        moment = self.server.now + self.nodes_ahead
        checkpoint = a_checkpoint(kept, moment) if kept else None
        activity = "Training" if step else "Starting"
        word = live(
            step, activity, attempt=attempt, checkpoint=checkpoint, job_uid=uid, time=format_time(moment)
        )
        self.drivers.answers[ADDRESS] = word


async def preempted_after_a_checkpoint(stage: Stage) -> None:
    for attempt in (1, 2, 3):
        await stage.change(stage.start_all)
        stage.driver_says(attempt, 10 * attempt, kept=10 * attempt)
        await stage.wait(12)
        driver = stage.pod(f"{attempt}-driver")
        await stage.change(lambda: stage.server.end(driver, 143, disruption="EvictionByEvictionAPI"))  # noqa: B023
        for _ in range(4):
            await stage.change(stage.server.collect_garbage)
            for raw in stage.pods():
                if "deletionTimestamp" in raw["metadata"]:
                    await stage.change(lambda: stage.server.vanish(raw))  # noqa: B023
        await stage.wait(10)
    counted = (stage.status().get("failures"), stage.status().get("attemptsWithoutCheckpoint"))
    assert counted == (None, 0), "each attempt has made a checkpoint"


async def told_to_stop(stage: Stage) -> None:
    await stage.change(stage.start_all)
    stage.driver_says(1, 5)
    await stage.wait(12)
    await stage.change(
        lambda: stage.server.edit(JOBS, *KEY[:2], lambda raw: raw["spec"].update(suspend=True))
    )
    await stage.wait(149)
    assert stage.status().get("accountedAttempts") == 0, "the driver has its grace, and half a minute more"
    await stage.wait(40)
    assert stage.status().get("accountedAttempts") == 1


async def never_a_step(stage: Stage) -> None:
    await stage.change(stage.start_all)
    stage.driver_says(1, None)
    await stage.wait(89)
    assert stage.status().get("accountedAttempts") == 0
    await stage.wait(2)
    assert stage.status().get("failures") == 1


async def workers_crash(stage: Stage) -> None:
    await stage.change(stage.start_all)
    stage.driver_says(1, 5)
    await stage.wait(12)
    for index, pause in enumerate((10, 20, 40)):
        worker = stage.pod(f"1-worker-{index}")
        await stage.change(lambda: stage.server.end(worker, 1))  # noqa: B023
        await stage.wait(pause - 1)
        assert stage.server.find(PODS, KEY[0], f"seedlings-1-worker-{index + 1}") is None
        await stage.wait(2)
        await stage.change(stage.start_all)
    await stage.change(lambda: stage.server.end(stage.pod("1-worker-3"), 1))
    assert stage.status().get("failures") == 1


async def no_node_for_a_worker(stage: Stage) -> None:
    await stage.change(lambda: stage.server.start(stage.pod("1-driver")))
    await stage.wait(299)
    assert stage.status().get("accountedAttempts") == 0
    await stage.wait(2)
    assert stage.status().get("accountedAttempts") == 1


STORIES: dict[str, tuple[Callable[[Stage], Any], dict[str, Any]]] = {
    "preempted after a checkpoint": (preempted_after_a_checkpoint, {"backoffLimit": 1}),
    "told to stop": (told_to_stop, {}),
    "never a step": (never_a_step, {"preRunningDeadlineSeconds": 90}),
    "workers crash": (workers_crash, {}),
    "no node for a worker": (no_node_for_a_worker, {}),
}
SKEWS = {
    "the operator's clock is ahead": (TEN_MINUTES, NONE),
    "the operator's clock is behind": (-TEN_MINUTES, NONE),
    "the nodes' clocks are ahead": (NONE, TEN_MINUTES),
    "the nodes' clocks are behind": (NONE, -TEN_MINUTES),
    "operator and nodes differ": (TEN_MINUTES, -TEN_MINUTES),
}


def told(story: Callable[[Stage], Any], spec: dict[str, Any], *clocks: timedelta) -> list[Any]:
    stage = Stage(*clocks, spec=spec)

    async def tell() -> None:
        await stage.begin()
        await story(stage)

    asyncio.run(tell())
    return stage.told


@pytest.mark.parametrize("clocks", SKEWS.values(), ids=SKEWS.keys())
@pytest.mark.parametrize(("story", "spec"), STORIES.values(), ids=STORIES.keys())
def test_whatever_the_clocks_say_the_same_happens_at_the_same_moments(
    story: Callable[[Stage], Any], spec: dict[str, Any], clocks: tuple[timedelta, timedelta]
) -> None:
    assert told(story, spec, *clocks) == told(story, spec)
