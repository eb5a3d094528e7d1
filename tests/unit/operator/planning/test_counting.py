"""What is counted when attempts end, how long the pauses are, and when it is enough."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.restart_backoff import backoff, backoff_after_preemption
from support.operator.builders import (
    UID,
    a_checkpoint,
    a_training_job,
    an_outcome,
    live,
)
from support.operator.simulated_cluster import World, a_world

UNAVAILABLE = an_outcome("Failed", "StorageUnavailable", message="the store does not answer")


def counters(world: World) -> tuple[int, int, int, int]:
    status = world.job.status
    return (
        status.failures or 0,
        status.infrastructure_failures or 0,
        status.preemptions or 0,
        status.attempts_without_checkpoint or 0,
    )


def driver_of(world: World) -> str:
    return f"seedlings-{world.job.status.attempts}-driver"


def fail_once(world: World, code: int, message: str = "", **ending: str) -> None:
    """Run one attempt to a failure, and remove its pods."""
    world.settle().start().settle()
    world.end(driver_of(world), code, message, **ending).settle()
    world.finish_deletions().settle().finish_deletions().settle()


def next_attempt(world: World) -> None:
    before = world.job.status.attempts
    world.wait(600)
    assert world.job.status.attempts == (before or 0) + 1, "the back-off is over after at most six minutes"


@pytest.mark.parametrize(
    ("code", "message", "counted"),
    [
        (1, "", (1, 0, 0, 1)),
        (75, UNAVAILABLE, (0, 1, 0, 1)),
        (143, "", (0, 1, 0, 1)),
        (2, an_outcome("Failed", "ModelError"), (0, 0, 0, 0)),
        (0, an_outcome(), (0, 0, 0, 0)),
    ],
    ids=["crash", "infrastructure", "stopped by others", "user", "done"],
)
def test_each_end_is_counted_once_and_in_one_place(
    code: int, message: str, counted: tuple[int, int, int, int]
) -> None:
    world = a_world()
    fail_once(world, code, message)
    assert counters(world) == counted
    world.settle()
    assert counters(world) == counted, "a second look counts nothing"


def test_failures_beyond_the_limit_fail_the_job_with_the_last_cause() -> None:
    world = a_world(a_training_job(backoffLimit=1))
    fail_once(world, 1)
    assert world.says() == "False BackingOff"
    next_attempt(world)
    fail_once(world, 139)
    assert world.says("Failed") == "True BackoffLimitExceeded"
    assert "2 failed attempts exceed spec.backoffLimit 1" in world.message("Failed")
    assert "SIGSEGV" in world.message("Failed")
    assert world.names() == []


def test_infrastructure_failures_count_as_failures_from_the_third_fruitless_attempt_on() -> None:
    world = a_world(a_training_job(backoffLimit=1))
    for number in (1, 2):
        fail_once(world, 75, UNAVAILABLE)
        assert counters(world) == (0, number, 0, number)
        next_attempt(world)
    fail_once(world, 75, UNAVAILABLE)
    assert counters(world) == (1, 3, 0, 3)
    next_attempt(world)
    fail_once(world, 75, UNAVAILABLE)
    assert counters(world) == (2, 4, 0, 4)
    assert world.says("Failed") == "True BackoffLimitExceeded"


@pytest.mark.slow
def test_however_large_the_limit_fruitless_attempts_end_some_time() -> None:
    world = a_world(a_training_job(backoffLimit=1000))
    while world.says("Failed") == "-":
        fail_once(world, 75, UNAVAILABLE)
        if world.says("Failed") == "-":
            next_attempt(world)
    assert world.job.status.attempts == 20
    assert "20 attempts in a row wrote no new checkpoint" in world.message("Failed")


def test_a_new_checkpoint_makes_the_next_pause_short_again() -> None:
    world = a_world(a_training_job(backoffLimit=0))
    for _ in range(2):
        fail_once(world, 75, UNAVAILABLE)
        next_attempt(world)
    world.start().settle()
    kept = a_checkpoint(10, world.now + timedelta(seconds=3))
    world.say(driver_of(world), live(12, checkpoint=kept)).wait(10)
    world.end(driver_of(world), 75, UNAVAILABLE).settle()
    assert counters(world) == (0, 3, 0, 0)
    world.finish_deletions().settle().finish_deletions().settle()
    ended = world.now
    while world.names() == []:
        world.wait(1)
    assert world.now - ended <= timedelta(seconds=14)


def test_a_preemption_is_retried_soon_and_never_touches_the_limit() -> None:
    world = a_world(a_training_job(backoffLimit=0))
    world.settle().start().settle()
    world.say(driver_of(world), live(5, checkpoint=a_checkpoint(5, world.now))).wait(10)
    world.pods[driver_of(world)] = _disrupted(world)
    world.end(driver_of(world), 143, an_outcome("Stopped", "Stopped")).settle()
    assert counters(world) == (0, 0, 1, 0)
    assert world.says() == "False Preempted"
    world.finish_deletions().settle().finish_deletions().wait(8)
    assert world.names() == ["2-driver", "2-worker-0"]


def rejected(world: World, name: str) -> None:
    why = {"reason": "OutOfnvidia.com/gpu", "message": "no GPU is left"}
    world.pods[name] = replace(world.pods[name], phase="Failed", node="gpu-7", started=None, **why)


def preempted(world: World, name: str) -> None:
    world.pods[name] = replace(world.pods[name], disruption="PreemptionByScheduler")
    world.end(name, 137)


def shut_down(world: World, name: str) -> None:
    world.end(name, 137)
    world.pods[name] = replace(world.pods[name], reason="NodeShutdown")


NOBODYS: dict[str, tuple[Callable[[World, str], None], bool, tuple[int, int, int, int]]] = {
    "preempted before its first checkpoint": (preempted, True, (0, 0, 30, 0)),
    "the node is shut down before its first checkpoint": (shut_down, True, (0, 0, 30, 0)),
    "rejected by its node": (rejected, False, (0, 30, 0, 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize(("end", "begins", "counted"), NOBODYS.values(), ids=NOBODYS.keys())
def test_what_no_attempt_could_have_helped_costs_no_retry_however_often(
    end: Callable[[World, str], None], begins: bool, counted: tuple[int, int, int, int]
) -> None:
    world = a_world(a_training_job(backoffLimit=0)).settle()
    pauses = []
    for _ in range(30):
        if begins:
            world.start().settle().say(driver_of(world), live(None, "Starting")).wait(10)
        end(world, driver_of(world))
        world.settle().finish_deletions().settle().finish_deletions().settle()
        began = world.now
        next_attempt(world)
        pauses.append(world.now - began)
    assert counters(world) == counted
    assert world.says("Failed") == "-"


def test_such_ends_are_bounded_by_the_time_that_a_job_may_be_active() -> None:
    world = a_world(a_training_job(backoffLimit=0, activeDeadlineSeconds=300)).settle()
    for _ in range(40):
        if world.says("Failed") == "-" and driver_of(world) in world.pods:
            rejected(world, driver_of(world))
            world.settle().finish_deletions().settle().finish_deletions().wait(30)
    world.wait(300)
    assert "DeadlineExceeded" in world.says("Failed")


def test_a_preemption_between_two_failures_does_not_make_the_next_one_count() -> None:
    world = a_world(a_training_job(backoffLimit=0))
    for end in ("failed", "preempted", "preempted", "failed"):
        world.settle().start().settle()
        if end == "failed":
            world.end(driver_of(world), 75, UNAVAILABLE)
        else:
            preempted(world, driver_of(world))
        world.settle().finish_deletions().settle().finish_deletions().settle()
        next_attempt(world)
    assert counters(world) == (0, 2, 2, 2)


@pytest.mark.parametrize(
    ("end", "counted"),
    [
        (rejected, (0, 1, 0, 0)),
        (lambda world, name: world.end(name, 75), (0, 1, 0, 1)),
        (lambda world, name: world.end(name, 1), (1, 0, 0, 1)),
    ],
    ids=["rejected by their node", "without their driver", "crashed"],
)
def test_workers_that_end_again_and_again_end_the_attempt_as_they_ended(
    end: Callable[[World, str], Any], counted: tuple[int, int, int, int]
) -> None:
    world = a_world().settle().start().settle()
    for index in range(4):
        end(world, f"seedlings-1-worker-{index}")
        world.settle()
        if index < 3:
            world.wait(45).start().settle()
    assert counters(world) == counted
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod) == ("WorkersLost", "seedlings-1-worker-3")
    assert failure.message is not None
    assert failure.message.startswith("4 workers ended within 600 s, ")
    assert ("node gpu-7 rejected pod" in failure.message) is (end is rejected)


def test_a_worker_whose_node_is_shut_down_is_replaced_at_once() -> None:
    world = a_world().settle().start().settle()
    world.say(driver_of(world), live(5)).wait(10)
    for _ in range(6):
        (name,) = (name for name, pod in world.pods.items() if pod.role == "worker" and not pod.ended)
        shut_down(world, name)
        world.settle()
        assert len([pod for pod in world.pods.values() if pod.role == "worker" and not pod.ended]) == 1
        world.start().settle()
    assert counters(world) == (0, 0, 0, 0)


def test_a_lost_node_does_not_hold_up_the_next_attempt() -> None:
    world = a_world()
    world.settle().start().settle()
    world.say(driver_of(world), live(5)).wait(10)
    world.lose_node("seedlings-1-driver", "seedlings-1-worker-0").wait(20)
    assert world.job.status.preemptions == 1
    assert "2-driver" in world.names(), "the dead pods stay until their node returns"
    assert "1-driver" in world.names()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.node) == ("NodeLost", "node-a")


def test_a_driver_that_somebody_removed_is_an_infrastructure_failure() -> None:
    world = a_world()
    world.settle().start().settle()
    world.vanish(driver_of(world)).settle()
    assert counters(world) == (0, 1, 0, 1)
    assert world.job.status.last_failure is not None
    assert world.job.status.last_failure.reason == "DriverLost"


def test_starved_workers_make_a_failure_that_says_what_to_raise() -> None:
    world = a_world(a_training_job().with_workers(2, 2))
    world.settle().start().settle()
    world.say(driver_of(world), live(5)).wait(10)
    world.end("seedlings-1-worker-0", 137, reason="OOMKilled").settle()
    assert counters(world) == (0, 0, 0, 0), "one may be chance"
    world.wait(20)
    assert "1-worker-2" in world.names(), "the smallest index that no pod has"
    world.start("seedlings-1-worker-2").settle()
    world.end("seedlings-1-worker-2", 137, reason="OOMKilled").settle()
    assert counters(world) == (1, 0, 0, 1)
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod) == ("OutOfMemory", "seedlings-1-worker-2")
    assert failure.message is not None
    assert "raise memory of the profile's worker" in failure.message


@pytest.mark.parametrize("told", ["WorkersLost", "RayUnhealthy", "RayStarting"])
def test_a_starved_worker_is_named_where_the_driver_only_misses_it(told: str) -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle()
    world.say(driver_of(world), live(5)).wait(10)
    world.logs["seedlings-1-worker-1"] = "the last words"
    world.end("seedlings-1-worker-1", 137, reason="OOMKilled")
    world.end(driver_of(world), 75, an_outcome("Failed", told, message="1 of 2 workers is left")).settle()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod, failure.exit_code) == ("OutOfMemory", "seedlings-1-worker-1", 137)
    assert (failure.node, failure.log_tail) == ("node-a", "the last words")
    assert failure.message is not None
    assert failure.message.startswith("1 of 2 workers is left; pod seedlings-1-worker-1 ran out of memory")
    assert counters(world) == (1, 0, 0, 1)


def test_a_worker_that_starved_long_ago_is_not_to_blame() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle()
    world.say(driver_of(world), live(5)).wait(10)
    world.end("seedlings-1-worker-0", 137, reason="OOMKilled").settle()
    for step in range(6, 22):
        world.wait(60).start().settle().say(driver_of(world), live(step))
    world.end(driver_of(world), 75, an_outcome("Failed", "WorkersLost", message="silent")).settle()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod) == ("WorkersLost", driver_of(world))
    assert counters(world) == (0, 1, 0, 1)


def test_a_job_whose_last_failure_was_memory_says_so_in_its_end() -> None:
    world = a_world(a_training_job(backoffLimit=0))
    fail_once(world, 137, reason="OOMKilled")
    assert world.says("Failed") == "True OutOfMemory"
    assert "raise memory" in world.message("Failed")


@pytest.mark.parametrize("attempt", range(1, 30))
def test_the_pause_doubles_to_a_bound_and_has_a_jitter_of_its_own(attempt: int) -> None:
    pause = backoff(UID, attempt, in_a_row=attempt)
    base = min(10 * 2 ** (attempt - 1), 360)
    assert timedelta(seconds=base) <= pause < timedelta(seconds=base * 1.25)
    assert pause == backoff(UID, attempt, in_a_row=attempt)
    assert pause != backoff("another", attempt, in_a_row=attempt)
    assert backoff_after_preemption(UID, attempt, in_a_row=attempt) <= timedelta(seconds=75)


def _disrupted(world: World) -> PodView:
    return replace(world.pods[driver_of(world)], disruption="EvictionByEvictionAPI")
