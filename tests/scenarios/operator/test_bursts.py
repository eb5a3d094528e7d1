"""Many jobs come at once: each has its pods before any has its status, and every status is true in the end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from seedbed_operator.kube_client.resource_kinds import EVENTS, JOBS, PODS, PROFILES, JobKey
from seedbed_operator.reconciler.reconcile import STATUS_DELAY
from support.operator.builders import IMAGE, a_recipe
from support.operator.fake_api_server import ApiServer
from support.operator.operator_instance import Incarnation

KEY = JobKey("team", "seedlings")


async def born(server: ApiServer) -> Incarnation:
    """Return an operator that has listed everything, and for which others wait for their first pods."""
    operator = Incarnation(server)
    await operator.relist()
    operator.has_new_jobs = True
    return operator


def statuses(server: ApiServer) -> int:
    """Return how many statuses were written."""
    return sum(call.verb == "patch" for call in server.calls)


async def pods_come_first_and_are_told_of_soon_whatever_happens(server: ApiServer) -> None:
    operator = await born(server)
    await operator.step(KEY)
    assert len(server.all(PODS)) == 2
    assert statuses(server) == 0
    assert server.all(EVENTS) == []
    await operator.steps()
    assert statuses(server) == 0, "it is not looked at again at once"
    server.now += STATUS_DELAY
    await operator.steps()
    assert statuses(server) == 1
    assert len(server.all(PODS)) == 2
    job = server.find(JOBS, *KEY[:2])
    assert job is not None
    assert job["status"]["attempts"] == 1


async def a_refusal_is_told_at_once(server: ApiServer) -> None:
    operator = await born(server)
    server.quota = {KEY[0]: 1}
    await operator.step(KEY)
    assert statuses(server) == 1
    assert [event["reason"] for event in server.all(EVENTS)] == ["QuotaExceeded"]


async def what_happens_to_a_pod_is_told_with_it_in_one_write(server: ApiServer) -> None:
    operator = await born(server)
    await operator.step(KEY)
    for pod in server.all(PODS):
        server.start(pod)
    await operator.relist()
    await operator.steps()
    assert statuses(server) == 1
    job = server.find(JOBS, *KEY[:2])
    assert job is not None
    (running,) = (found for found in job["status"]["conditions"] if found["type"] == "Running")
    assert running["reason"] == "RayStarting", "Pending was over before it was told"


async def an_operator_that_dies_before_it_tells_begins_no_second_attempt(server: ApiServer) -> None:
    await (await born(server)).step(KEY)
    await (await born(server)).steps()
    assert [pod["metadata"]["labels"]["seedbed.dev/attempt"] for pod in server.all(PODS)] == ["1", "1"]
    assert statuses(server) == 1


async def nothing_is_deleted_that_was_not_told_of_before(server: ApiServer) -> None:
    operator = await born(server)
    await operator.step(KEY)
    driver = next(pod for pod in server.all(PODS) if "driver" in pod["metadata"]["name"])
    for pod in server.all(PODS):
        server.start(pod)
    server.end(driver, 1, "lost")
    await operator.relist()
    before = len(server.calls)
    await operator.steps()
    verbs = [call.verb for call in server.calls[before:] if call.verb in ("patch", "delete")]
    assert verbs[0] == "patch", "the failure is accounted for before its pods go"
    assert "delete" in verbs


@pytest.mark.parametrize(
    "story",
    [
        pods_come_first_and_are_told_of_soon_whatever_happens,
        what_happens_to_a_pod_is_told_with_it_in_one_write,
        a_refusal_is_told_at_once,
        an_operator_that_dies_before_it_tells_begins_no_second_attempt,
        nothing_is_deleted_that_was_not_told_of_before,
    ],
    ids=lambda story: story.__name__.replace("_", " "),
)
def test_while_others_wait(story: Callable[[ApiServer], Awaitable[None]]) -> None:
    server = ApiServer()
    server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
    server.apply(JOBS, {"metadata": {"name": KEY[1], "namespace": KEY[0]}, "spec": a_recipe()})
    asyncio.run(story(server))
