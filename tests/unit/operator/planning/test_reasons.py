"""Every reason that the documentation gives for Running is written in some situation: none is a mere promise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from seedbed_api.conditions import FailedReason, RunningReason
from seedbed_operator.planning import status_after_internal_error
from support.operator.builders import a_profile, a_training_job, an_outcome, live
from support.operator.simulated_cluster import World, a_world
from unit.operator.planning.waiting_cases import SITUATIONS, one_worker_of_two

DRIVER = "seedlings-1-driver"


def training(world: World | None = None) -> World:
    world = (world or a_world()).settle().start().settle()
    return world.say(DRIVER, live(7)).wait(10)


def active() -> World:
    world = training()
    for activity in ("Evaluating", "Checkpointing"):
        world.say(DRIVER, live(8, activity)).wait(20)
    return world


def suspended() -> World:
    return training().edit(suspend=True).settle().finish_deletions().settle()


def not_allowed(**spec: object) -> Callable[[], World]:
    return lambda: a_world(a_training_job(**spec), profile=a_profile(allowedURIPrefixes=["s3://"])).settle()


def with_profile(**spec: object) -> Callable[[], World]:
    return lambda: a_world(a_training_job(), profile=a_profile(**spec)).settle()


def ended(code: int, message: str = "") -> Callable[[], World]:
    return lambda: training().end(DRIVER, code, message).settle()


def preempted() -> World:
    world = training()
    world.pods[DRIVER] = replace(world.pods[DRIVER], disruption="EvictionByEvictionAPI")
    return world.end(DRIVER, 143).settle()


def hung() -> World:
    return training(a_world(a_training_job(progressDeadlineSeconds=60))).wait(120)


def never_stepped() -> World:
    return a_world(a_training_job(preRunningDeadlineSeconds=60)).settle().start().settle().wait(120)


def unsound() -> World:
    world = a_world()
    status = status_after_internal_error(world.job, world.now, "the operator failed")
    assert status is not None
    world.job = replace(world.job, status=status)
    world.reasons.append(world.says().partition(" ")[2])
    return world


LIVES: dict[str, Callable[[], World]] = {
    "it trains, evaluates, keeps a checkpoint": active,
    "it is suspended": suspended,
    "an override is not listed": not_allowed(cluster={"overrides": {"image": "x@sha256:" + "1" * 64}}),
    "a Secret is not listed": not_allowed(output={"uri": "s3://runs", "secretRef": {"name": "root"}}),
    "a URL is not listed": not_allowed(output={"uri": "file:///etc"}),
    "the namespace is not named": with_profile(allowedNamespaces={}),
    "the job is larger than the profile allows": with_profile(maxPerJob={"memory": "1Ki"}),
    "its metadata is too large": lambda: a_world(
        a_training_job().seen(metadata_problem="too large")
    ).settle(),
    "the driver crashes": ended(1),
    "Ray breaks down": ended(75, an_outcome("Failed", "RayUnhealthy", message="the raylet died")),
    "the driver is drained": preempted,
    "the driver's node is lost": lambda: training().lose_node(DRIVER).settle(),
    "the driver is deleted by force": lambda: training().vanish(DRIVER).settle(),
    "it hangs": hung,
    "it makes no step": never_stepped,
    "the operator fails at it": unsound,
}


def told_in_situations() -> set[str]:
    """Return every reason that is written in the situations in which a job waits."""
    told = set[str]()
    for happen, _, _ in SITUATIONS.values():
        world = a_world(a_training_job().with_workers(2 if happen is one_worker_of_two else 1, 2))
        happen(world)
        told |= set(world.reasons)
    return told


def test_every_reason_of_running_is_written_somewhere() -> None:
    told = told_in_situations().union(*(live_through().reasons for live_through in LIVES.values()))
    assert set(map(str, RunningReason)) - told == set()
    assert told - set(map(str, RunningReason)) <= set(map(str, FailedReason)), "and none that is not told of"
