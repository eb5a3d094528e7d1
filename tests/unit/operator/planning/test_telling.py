"""What is told: progress into the status, at most every ten seconds; Events at turns, never as a flood."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from seedbed_api.trainingjob_status import DatasetStatus, Metric, WorkerCounts
from seedbed_operator.plan import JobEvent
from support.operator.builders import (
    DATASET,
    ENVIRONMENT,
    RUN,
    a_checkpoint,
    a_training_job,
    an_outcome,
    live,
    progress,
)
from support.operator.simulated_cluster import World, a_world, complete

DRIVER = "seedlings-1-driver"


def training(world: World, step: int = 7) -> World:
    world.settle().start().settle()
    return world.say(DRIVER, live(step)).wait(10)


def told(world: World) -> list[str]:
    return [f"{event.type} {event.reason}" for made in world.history for event in made.events]


def test_what_the_driver_says_stands_in_the_status() -> None:
    world = a_world().settle().start().settle()
    word = live(
        8,
        environment_class=ENVIRONMENT,
        checkpoint=a_checkpoint(5),
        metrics=(Metric(name="train/loss", value="0.5"),),
    )
    world.say(DRIVER, word).wait(10)
    status = world.job.status
    assert status.progress == progress(8)
    assert status.metrics == (Metric(name="train/loss", value="0.5"),)
    assert status.checkpoint == a_checkpoint(5)
    assert (status.run_id, status.dataset) == (RUN, DatasetStatus(digest=DATASET, samples=1000))
    assert status.environment is not None
    assert status.environment.class_ == ENVIRONMENT
    assert status.workers == WorkerCounts(ready=1, desired=1)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        pytest.param(1, "", id="it crashed"),
        pytest.param(75, an_outcome("Failed", "StorageUnavailable", progress=progress(9)), id="it failed"),
        pytest.param(0, an_outcome(), id="it is done"),
    ],
)
def test_an_estimate_ends_with_the_attempt_that_made_it(code: int, message: str) -> None:
    world = a_world().settle().start().settle()
    estimate = progress(9).model_copy(update={"estimated_completion_time": "2030-01-02T13:00:00Z"})
    world.say(DRIVER, live(9, progress=estimate)).wait(10)
    assert world.job.status.progress == estimate
    world.end(DRIVER, code, message).settle()
    told = world.job.status.progress
    assert told is not None
    assert (told.estimated_completion_time, told.step >= 9) == (None, True)


OTHER = "sha256:" + "5" * 64


def test_what_was_pinned_is_not_changed_by_a_later_word() -> None:
    world = training(a_world())
    word = live(9, dataset=DatasetStatus(digest=OTHER, samples=1), environment_class=OTHER)
    world.say(DRIVER, word).wait(20)
    assert world.job.status.progress == progress(9)
    assert world.job.status.dataset is not None
    assert world.job.status.dataset.digest == DATASET


@pytest.mark.parametrize("strange", [{"run_id": OTHER}, {"attempt": 2}], ids=["run", "attempt"])
def test_the_word_of_another_driver_at_the_same_address_is_none(strange: dict[str, Any]) -> None:
    world = training(a_world(), step=7)
    world.answers[DRIVER] = live(99, **strange)
    world.wait(20)
    assert world.job.status.progress == progress(7)
    assert world.job.status.run_id == RUN


def test_mere_progress_is_written_every_ten_seconds_only() -> None:
    world = training(a_world())
    world.wait(5)
    writes = 0
    for step in range(8, 68):
        before = world.job.status
        world.say(DRIVER, live(step, "Evaluating" if step % 2 else "Training")).wait(1)
        writes += world.job.status != before
    assert 5 <= writes <= 7
    assert world.job.status.progress is not None
    assert world.job.status.progress.step >= 57


def test_what_is_more_than_progress_is_written_at_once() -> None:
    world = training(a_world())
    world.say(DRIVER, live(9)).wait(0.5)
    world.edit(suspend=True).settle()
    assert world.says("Suspended") == "False Suspending"


def test_steps_do_not_go_backwards_while_an_attempt_goes_on() -> None:
    world = training(a_world(), step=50)
    world.say(DRIVER, live(40)).wait(20)
    assert world.job.status.progress == progress(50)
    world.say(DRIVER, live(51)).wait(20)
    assert world.job.status.progress == progress(51)


def test_a_new_attempt_may_begin_at_an_earlier_step() -> None:
    world = training(a_world(), step=50)
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(15)
    assert world.job.status.progress == progress(50)
    world.start().settle()
    world.say("seedlings-2-driver", live(41)).wait(10)
    assert world.job.status.progress == progress(41)


def test_a_missed_scrape_changes_nothing() -> None:
    world = training(a_world())
    before = world.job.status
    world.answers.clear()
    world.wait(30)
    assert world.job.status == before


def test_the_events_of_a_life_are_few() -> None:
    world = training(a_world(a_training_job().with_workers(1, 2)))
    world.start()
    for step in range(8, 40):
        world.say(DRIVER, live(step, "Evaluating" if step % 3 == 0 else "Training")).wait(10)
    complete(world)
    assert told(world) == ["Normal Training", "Normal Trained"]


def test_trouble_is_announced_once_and_again_when_it_is_another() -> None:
    world = a_world().settle()
    full = "0/1 nodes are available: 1 Insufficient cpu."
    world.unschedulable(DRIVER, full).settle().wait(600)
    assert told(world) == ["Warning Unschedulable"]
    world.schedule().cannot_start(DRIVER, "ErrImagePull", "not found").settle().wait(300)
    assert told(world) == ["Warning Unschedulable", "Warning ImagePullFailed"]


def test_failure_suspension_and_preemption_are_announced() -> None:
    world = training(a_world(a_training_job(backoffLimit=0)))
    world.edit(suspend=True).settle().finish_deletions().settle()
    world.edit(suspend=False).settle().start().settle()
    world.say("seedlings-2-driver", live(9)).wait(10)
    world.pods["seedlings-2-driver"] = replace(
        world.pods["seedlings-2-driver"], disruption="PreemptionByScheduler"
    )
    world.end("seedlings-2-driver", 143).settle().finish_deletions().settle().finish_deletions().wait(10)
    world.start().settle().end("seedlings-3-driver", 2, an_outcome("Failed", "ModelError")).settle()
    world.finish_deletions().settle().finish_deletions().settle()
    assert told(world) == [
        "Normal Training",
        "Normal Suspended",
        "Normal Training",
        "Warning Preempted",
        "Warning ModelError",
    ]


def test_an_announcement_has_words() -> None:
    world = training(a_world())
    world.end(DRIVER, 1).settle()
    events: list[JobEvent] = [event for made in world.history for event in made.events]
    assert all(event.message and event.action for event in events)


def test_a_job_is_looked_at_every_ten_seconds_while_it_runs() -> None:
    world = training(a_world())
    assert world.requeue_at is not None
    assert timedelta(0) < world.requeue_at - world.now <= timedelta(seconds=10)


@pytest.mark.parametrize("step", [0, 1])
def test_a_driver_that_has_told_no_step_is_starting(step: int) -> None:
    world = a_world().settle().start().settle()
    world.say(DRIVER, live(step, "Starting")).wait(10)
    assert world.says() == "False RayStarting"


def test_a_group_that_is_formed_anew_still_counts_as_running() -> None:
    world = training(a_world())
    world.say(DRIVER, live(7, "Starting")).wait(10)
    assert world.says() == "True Training"
    assert "form a new process group" in world.message()


def test_a_driver_that_keeps_silent_is_told_of_before_it_is_held_to_be_hung() -> None:
    world = training(a_world(a_training_job(progressDeadlineSeconds=300)))
    world.answers.clear()
    world.wait(40)
    assert world.message() == ""
    world.wait(40)
    assert world.says() == "True Training"
    assert "the driver does not respond" in world.message()
    said = world.message()
    world.wait(40)
    assert world.message() == said, "the words do not change with the time"
