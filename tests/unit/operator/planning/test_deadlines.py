"""The limits of time, each as a story that ends on the second; and the end of a finished object's time."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from support.operator.builders import (
    NOON,
    a_checkpoint,
    a_training_job,
    an_outcome,
    ended,
    live,
    progress,
)
from support.operator.simulated_cluster import World, a_world, complete

DRIVER = "seedlings-1-driver"


def training(world: World, step: int = 7) -> World:
    world.settle().start().settle()
    return world.say(DRIVER, live(step)).wait(10)


def test_a_job_that_is_active_for_too_long_fails_driver_first() -> None:
    world = training(a_world(a_training_job(activeDeadlineSeconds=100)))
    world.wait(89)
    assert world.says() == "True Training"
    world.wait(1)
    assert world.says("Failed") == "False DeadlineExceeded"
    assert world.pods[DRIVER].deleting
    assert not world.pods["seedlings-1-worker-0"].deleting
    world.finish_deletions().settle()
    assert world.says("Failed") == "True DeadlineExceeded"
    assert "spec.activeDeadlineSeconds 100" in world.message("Failed")
    assert world.names() == []
    assert world.requeue_at is None


def test_a_job_whose_time_is_over_tells_how_far_it_came() -> None:
    world = training(a_world(a_training_job(activeDeadlineSeconds=100)))
    world.wait(85).say(DRIVER, live(40, checkpoint=a_checkpoint(40))).wait(5)
    assert world.says("Failed") == "False DeadlineExceeded"
    assert world.message("Failed").endswith("; the newest reported checkpoint has 40 steps")
    assert world.job.status.checkpoint == a_checkpoint(40)
    early = a_world(a_training_job(activeDeadlineSeconds=100)).settle().wait(100)
    assert early.message("Failed").endswith("spec.activeDeadlineSeconds 100; raise it")


def test_the_deadline_counts_while_backing_off_too() -> None:
    world = training(a_world(a_training_job(activeDeadlineSeconds=15)))
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(6)
    assert world.says("Failed") == "True DeadlineExceeded"
    assert world.job.status.attempts == 1


def test_the_clock_of_the_deadline_starts_again_when_the_job_is_resumed() -> None:
    world = training(a_world(a_training_job(activeDeadlineSeconds=100)))
    world.edit(suspend=True).settle()
    world.finish_deletions().settle()
    world.wait(5000)
    assert world.says("Suspended") == "True Suspended"
    world.edit(suspend=False).settle()
    world.start().wait(99)
    assert world.says("Failed") == "-"
    world.wait(1)
    assert world.says("Failed") == "False DeadlineExceeded"


def test_an_attempt_without_a_first_step_is_a_failure_that_says_what_it_waited_for() -> None:
    world = a_world(a_training_job(preRunningDeadlineSeconds=120, progressDeadlineSeconds=60))
    world.settle().start().settle()
    world.say(DRIVER, live(None, "Starting")).wait(119)
    assert world.says() == "False RayStarting"
    world.wait(1)
    assert world.job.status.failures == 1
    failure = world.job.status.last_failure
    assert failure is not None
    assert failure.reason == "PreRunningDeadlineExceeded"
    assert failure.message is not None
    assert "RayStarting: " in failure.message
    assert world.pods[DRIVER].deleting, "the driver is told to stop once its failure is in the status"


def test_an_operator_that_is_restarted_again_and_again_gives_no_attempt_more_time_for_its_first_step() -> (
    None
):
    world = a_world(a_training_job(preRunningDeadlineSeconds=120)).settle().start().settle()
    for _ in range(12):
        world.say(DRIVER, live(None, "Starting")).wait(10)
        world.driver_responses.clear()
        world.changed.clear()
        for name, pod in world.pods.items():
            world.pods[name] = replace(pod, created=world.now, scheduled=world.now)
    assert world.job.status.failures == 1


def test_a_pod_that_loses_its_place_begins_the_time_for_the_first_step_anew() -> None:
    world = a_world(a_training_job(preRunningDeadlineSeconds=120)).settle().start().settle().wait(100)
    worker = "seedlings-1-worker-0"
    world.vanish(worker).settle().wait(30)
    world.start(worker).settle().wait(119)
    assert world.job.status.accounted_attempts == 0
    world.wait(1)
    assert world.job.status.failures == 1


def test_waiting_in_a_queue_is_no_missing_first_step() -> None:
    world = a_world(a_training_job(preRunningDeadlineSeconds=60)).settle()
    for name in list(world.pods):
        world.pods[name] = replace(world.pods[name], gated=True)
    world.settle().wait(3600)
    assert world.says() == "False Queued"
    assert (world.job.status.failures or 0, world.job.status.attempts) == (0, 1)
    world.start().settle().wait(59)
    assert world.job.status.accounted_attempts == 0, "the time counts from when the pods have a node"
    world.wait(1)
    assert world.job.status.failures == 1


def silent(world: World) -> None:
    del world.answers[DRIVER]


def stuck(world: World) -> None:
    world.say(DRIVER, live(7))


@pytest.mark.parametrize("hang", [silent, stuck], ids=["the driver does not respond", "no step is made"])
def test_an_attempt_that_hangs_is_a_failure_and_is_retried(hang: Any) -> None:
    world = training(a_world(a_training_job(progressDeadlineSeconds=60)))
    began = world.changed[world.pods[DRIVER].uid]
    hang(world)
    world.wait((began + timedelta(seconds=59) - world.now).total_seconds())
    assert world.says() == "True Training", "a scrape may be missed"
    world.wait(1)
    failure = world.job.status.last_failure
    assert failure is not None
    assert failure.reason == "ProgressDeadlineExceeded"
    assert world.says() == "False ProgressDeadlineExceeded"
    assert world.message().startswith("attempt 1 ended: ProgressDeadlineExceeded: no ")
    world.finish_deletions(137).settle().finish_deletions().wait(20)
    assert world.names() == ["2-driver", "2-worker-0"]


def test_no_attempt_is_ended_on_a_silence_of_a_while_ago() -> None:
    world = training(a_world(a_training_job(progressDeadlineSeconds=60)))
    before = world.answers.pop(DRIVER)
    world.wait(45)
    world.answers[DRIVER] = before.model_copy(update={"progress": progress(8)})
    world.wait(60)
    assert world.says() == "True Training"
    assert world.job.status.progress == progress(8)


def test_no_attempt_is_ended_for_want_of_a_first_step_that_it_was_not_asked_about() -> None:
    world = a_world(a_training_job(preRunningDeadlineSeconds=60)).settle().start().settle().wait(50)
    world.answers[DRIVER] = live(1)
    world.wait(10)
    assert world.says() == "True Training"


def test_evaluating_and_checkpointing_are_life() -> None:
    world = training(a_world(a_training_job(progressDeadlineSeconds=60)))
    for activity in ("Evaluating", "Checkpointing", "Evaluating", "Training"):
        world.wait(45).say(DRIVER, live(7, activity)).wait(1)
    assert world.says() == "True Training"


def test_a_restarted_operator_gives_a_driver_its_time_anew() -> None:
    world = training(a_world(a_training_job(progressDeadlineSeconds=60)))
    world.wait(40)
    world.changed.clear()
    world.driver_responses.clear()
    world.wait(50)
    assert world.says() == "True Training"


def test_a_finished_object_is_deleted_when_its_time_is_over() -> None:
    world = training(a_world(a_training_job(ttlSecondsAfterFinished=600)))
    complete(world)
    world.wait(599)
    assert not world.deleted_job
    world.wait(1)
    assert world.deleted_job


def test_without_a_time_to_live_the_object_stays() -> None:
    world = training(a_world())
    complete(world)
    assert world.requeue_at is None
    world.wait(10**7)
    assert not world.deleted_job


def test_suspending_while_it_finishes_loses_no_result() -> None:
    world = training(a_world())
    world.say(DRIVER, live(100, "Finishing")).settle()
    world.edit(suspend=True).settle()
    assert world.pods[DRIVER].deleting
    world.pods[DRIVER] = ended(world.pods[DRIVER], 0, an_outcome(), at=NOON)
    world.settle().finish_deletions().settle().finish_deletions().settle()
    assert world.says("Complete") == "True Trained"
    assert world.job.status.model is not None


def test_resuming_before_the_driver_has_ended_waits_for_it_and_counts_nothing() -> None:
    world = training(a_world())
    world.edit(suspend=True).settle()
    world.edit(suspend=False).settle()
    assert world.says("Suspended") == "False Suspending"
    world.end(DRIVER, 143, an_outcome("Stopped", "Stopped")).settle()
    world.finish_deletions().settle()
    assert world.names() == ["2-driver", "2-worker-0"]
    assert world.says("Suspended") == "False Resumed"
    status = world.job.status
    assert (status.failures or 0, status.infrastructure_failures or 0) == (0, 0)


def test_a_job_that_is_created_suspended_gets_no_pods() -> None:
    world = a_world(a_training_job().suspended()).settle()
    assert world.names() == []
    assert world.says("Suspended") == "True Suspended"
    assert world.says("Reconciling") == "False Suspended"
    assert world.job.status.start_time is None
    world.edit(suspend=False).settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.job.status.resume_time == world.job.status.start_time == "2030-01-02T12:00:00Z"


def test_a_job_of_another_controller_is_left_alone() -> None:
    world = a_world(a_training_job(managedBy="kueue.x-k8s.io/multikueue"))
    assert not world.act()
    assert world.history[-1].status is None


def test_an_invalid_spec_of_another_controller_is_left_alone() -> None:
    seen = a_training_job().seen(spec=None, spec_error="x", managed_by="kueue.x-k8s.io/multikueue")
    assert not a_world(seen).act()


def test_a_job_that_is_being_deleted_is_left_to_the_garbage_collector() -> None:
    world = training(a_world())
    world.job = replace(world.job, deleting=True)
    assert not world.act()
    assert world.history[-1].requeue_at is None


def test_a_spec_that_the_models_refuse_fails_the_job() -> None:
    line = "spec.training.epochs: must be at least 1 (got 0); choose a larger value"
    world = a_world(a_training_job().seen(spec=None, spec_error=line)).settle()
    assert world.says("Failed") == "True InvalidSpec"
    assert world.message("Failed") == line
    assert world.says("Stalled") == "True InvalidSpec"
    assert world.names() == []
