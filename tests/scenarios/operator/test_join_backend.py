"""Planning knows no Ray: with a cluster that the driver joins, a job lives the same life."""

from __future__ import annotations

import pytest

from scenarios.operator.join_backend import JoinBackend
from seedbed_operator.backends.backend_interface import Backend
from seedbed_operator.backends.pods_backend import BACKENDS, PodsBackend
from support.operator.builders import a_profile, a_training_job, live
from support.operator.random_walk import EVENTS, Walk
from support.operator.simulated_cluster import World, a_world, complete

BOTH = {**BACKENDS, "KubeRay": JoinBackend()}
DRIVER = "seedlings-1-driver"


def joined(world: World) -> World:
    world.backends = BOTH
    world.profile = a_profile(backend="KubeRay")
    return world


def environment(world: World, pod: str) -> dict[str, str]:
    return {
        entry["name"]: entry.get("value", "") for entry in world.bodies[pod]["spec"]["containers"][0]["env"]
    }


def test_both_implement_the_port() -> None:
    backends: list[Backend] = [PodsBackend(), JoinBackend()]
    assert [backend.name for backend in backends] == ["Pods", "KubeRay"]


def test_the_driver_is_told_which_cluster_to_join_and_the_job_completes() -> None:
    world = joined(a_world(a_training_job().with_workers(1, 2))).settle()
    told = environment(world, DRIVER)
    assert (told["SEEDBED_RAY_MODE"], told["SEEDBED_RAY_ADDRESS"]) == ("join", "seedlings-1-ray:6379")
    assert environment(world, "seedlings-1-worker-0")["SEEDBED_RAY_ADDRESS"] == "seedlings-1-ray:6379"
    assert world.services == {"seedlings-1-ray": world.pods[DRIVER].uid}
    assert world.job.status.backend == "KubeRay"
    world.start().settle().say(DRIVER, live(7)).wait(10)
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    complete(world)
    assert world.says("Complete") == "True Trained"


def test_the_backend_is_chosen_once() -> None:
    world = joined(a_world()).settle().start().settle()
    world.profile = a_profile(generation=2, backend="Pods")
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(30)
    assert environment(world, "seedlings-2-driver")["SEEDBED_RAY_MODE"] == "join"
    assert world.job.status.backend == "KubeRay"


@pytest.mark.parametrize("number", range(20))
def test_walks_end_with_either_backend(number: int) -> None:
    names = sorted(EVENTS)
    walk = Walk(world=joined(a_world(a_training_job().with_workers(1, 4))).settle())
    for step in range(12):
        name = names[(number * 7 + step * 5) % len(names)]
        if name != "lose_profile":
            walk.do(name, 37 * number + 11 * step)
    assert walk.world.job.status.backend in (None, "KubeRay")
