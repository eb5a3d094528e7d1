"""What begins and stops the clock of a job, and what counts as progress whatever a machine's clock says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.execution_settings import Output
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import TrainingJobStatus
from support.operator.builders import (
    NOON,
    a_checkpoint,
    a_sweep_job,
    a_sweeps_word,
    a_training_job,
    an_outcome,
    live,
    trials,
)
from support.operator.simulated_cluster import World, a_world

DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"
QUOTA = (403, "Forbidden", "exceeded quota: team")


def limited(seconds: int = 20) -> World:
    return a_world(a_training_job(activeDeadlineSeconds=seconds))


def held_by_a_queue(world: World, *names: str) -> World:
    for name in names or list(world.pods):
        world.pods[name] = replace(world.pods[name], gated=True)
    return world.settle()


def clock(world: World) -> tuple[str | None, str | None]:
    return world.job.status.start_time, world.job.status.resume_time


def test_the_clock_stands_while_a_queue_holds_all_pods_and_begins_with_the_first_that_it_admits() -> None:
    world = held_by_a_queue(limited().settle()).wait(40)
    assert world.says() == "False Queued"
    assert clock(world) == (None, None)
    world.schedule(WORKER).settle()
    assert clock(world) == ("2030-01-02T12:00:40Z",) * 2
    world.wait(19)
    assert world.says("Failed") == "-"
    world.wait(1)
    assert world.says("Failed") == "False DeadlineExceeded"


def test_a_queue_that_holds_some_pods_stops_no_clock() -> None:
    world = held_by_a_queue(limited().settle(), WORKER).wait(20)
    assert world.says("Failed") == "False DeadlineExceeded"


def test_the_clock_starts_again_when_a_later_attempt_was_held_by_a_queue() -> None:
    world = limited(100).settle().start().settle()
    world.say(DRIVER, live(7)).wait(50)
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(15)
    assert "2-driver" in world.names()
    held_by_a_queue(world).wait(3600)
    assert world.says() == "False Queued"
    assert clock(world) == ("2030-01-02T12:00:00Z", None), "it has been active before"
    world.start().settle().wait(99)
    assert world.says("Failed") == "-"
    world.wait(1)
    assert world.says("Failed") == "False DeadlineExceeded"


def test_a_job_whose_queue_was_never_done_before_it_was_suspended_has_no_start() -> None:
    world = held_by_a_queue(limited().settle()).wait(60)
    world.edit(suspend=True).settle().finish_deletions().settle().wait(60)
    world.edit(suspend=False).settle()
    held_by_a_queue(world).wait(60)
    assert (world.says(), clock(world)) == ("False Queued", (None, None))


REFUSALS = {
    "a quota": QUOTA,
    "a webhook": (403, "Forbidden", 'admission webhook "a.b" denied the request: no'),
    "Pod Security": (403, "Forbidden", 'violates PodSecurity "restricted:latest"'),
    "a missing service account": (403, "Forbidden", 'serviceaccount "x" not found'),
    "a broken field": (422, "Invalid", "spec.containers[0].image: Required value"),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_job_whose_pods_are_refused_is_active_and_ends_with_its_time(refusal: tuple[int, str, str]) -> None:
    world = limited()
    world.refuses[DRIVER] = refusal
    world.settle()
    assert clock(world) == ("2030-01-02T12:00:00Z",) * 2
    assert world.job.status.attempts is None
    world.wait(19)
    assert world.says("Failed") == "-"
    world.wait(1)
    assert world.says("Failed") == "True DeadlineExceeded"
    assert world.names() == []


def test_a_restarted_operator_does_not_begin_the_time_of_a_refused_job_anew() -> None:
    world = limited(300)
    world.refuses[DRIVER] = QUOTA
    for _ in range(10):
        world.settle().wait(30)
        world.rejected_writes, world.status_written = (), None
    assert world.says("Failed") == "True DeadlineExceeded"


def preempted(world: World, attempt: int, *, checkpoint: int, stamped: timedelta) -> None:
    """Run an attempt that tells of a checkpoint by another clock, and is preempted."""
    driver = f"seedlings-{attempt}-driver"
    world.start().settle()
    kept = a_checkpoint(checkpoint, world.now + stamped)
    world.say(driver, live(checkpoint, checkpoint=kept)).wait(12)
    world.pods[driver] = replace(world.pods[driver], disruption="PreemptionByScheduler")
    world.end(driver, 137).settle().finish_deletions().settle().finish_deletions().wait(80)


@pytest.mark.parametrize("minutes", [-10_000, -10, 0, 10])
def test_checkpoints_are_told_apart_by_their_steps(minutes: int) -> None:
    world = a_world(a_training_job(backoffLimit=1)).settle()
    for attempt in range(1, 6):
        preempted(world, attempt, checkpoint=10 * attempt, stamped=timedelta(minutes=minutes))
        assert world.job.status.attempts_without_checkpoint == 0
    assert (world.job.status.failures, world.job.status.preemptions) == (None, 5)


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_a_checkpoint_that_was_known_before_is_no_progress(minutes: int) -> None:
    world = a_world().settle().start().settle()
    word = an_outcome("Failed", "StorageUnavailable", checkpoint=a_checkpoint(5))
    world.end(DRIVER, 75, word).settle().finish_deletions().settle().finish_deletions().wait(30)
    assert world.job.status.attempts_without_checkpoint == 0
    world.start().settle()
    again = a_checkpoint(5, world.now + timedelta(minutes=minutes))
    word = an_outcome("Failed", "StorageUnavailable", attempt=2, checkpoint=again)
    world.end("seedlings-2-driver", 75, word).settle()
    assert world.job.status.attempts_without_checkpoint == 1


def test_a_job_that_writes_elsewhere_makes_progress_from_the_beginning() -> None:
    world = a_world().settle().start().settle()
    world.say(DRIVER, live(500, checkpoint=a_checkpoint(500))).wait(12)
    world.edit(suspend=True).settle().finish_deletions().settle()
    world.edit(output=Output(uri="s3://elsewhere"), suspend=False).settle().start().settle()
    for step in (10, 20):
        world.say("seedlings-2-driver", live(step, checkpoint=a_checkpoint(step))).wait(12)
    world.end("seedlings-2-driver", 1).settle()
    status = world.job.status
    assert isinstance(status, TrainingJobStatus)
    assert status.checkpoint is not None
    assert (status.checkpoint.step, status.attempts_without_checkpoint) == (20, 0)


@pytest.mark.parametrize(("seconds", "in_vain"), [(5, 0), (0, 0), (-60, 1)], ids=["after", "at", "before"])
@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_what_a_sweep_keeps_is_compared_with_the_start_of_its_driver_on_the_same_machine(
    minutes: int, seconds: int, in_vain: int
) -> None:
    world = a_world(a_sweep_job()).settle().start()
    driver = next(name for name, pod in world.pods.items() if pod.role == "driver")
    begun = NOON + timedelta(minutes=minutes)
    world.pods[driver] = replace(world.pods[driver], started=begun)
    kept = trials(1, kept_time=format_time(begun + timedelta(seconds=seconds)))
    world.say(driver, a_sweeps_word(1).model_copy(update={"sweep": kept})).wait(12)
    world.end(driver, 137).settle()
    assert world.job.status.attempts_without_checkpoint == in_vain


SURVIVES: dict[str, Callable[[World], Any]] = {
    "nothing happens": lambda world: None,
    "it trains on": lambda world: world.say(DRIVER, live(9)),
    "it is edited": lambda world: world.edit(backoff_limit=7),
}


@pytest.mark.parametrize("happens", SURVIVES.values(), ids=SURVIVES.keys())
def test_progress_is_remembered_by_the_status_alone(happens: Callable[[World], Any]) -> None:
    world = a_world().settle().start().settle()
    world.say(DRIVER, live(6, checkpoint=a_checkpoint(5))).wait(12)
    world.driver_responses.clear()
    world.changed.clear()
    happens(world)
    world.settle().end(DRIVER, 1).settle()
    assert world.job.status.attempts_without_checkpoint == 0
