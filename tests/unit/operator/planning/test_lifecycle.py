"""The life of a job as stories: it is created, trains, completes; it fails; it is suspended and goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from support.operator.builders import (
    DATASET,
    ENVIRONMENT,
    IMAGE,
    RUN,
    a_checkpoint,
    a_driver,
    a_training_job,
    an_outcome,
    ended,
    live,
)
from support.operator.simulated_cluster import World, a_world, complete

DRIVER = "seedlings-1-driver"
ENDED = ended(a_driver(), 1).terminated


def training(world: World, attempt: int = 1, step: int = 7) -> World:
    """Bring an attempt to where it trains."""
    world.settle().start().settle()
    return world.say(f"seedlings-{attempt}-driver", live(step)).wait(10)


def test_first_sight_creates_driver_service_and_the_fewest_workers_in_one_pass() -> None:
    world = a_world(a_training_job().with_workers(2, 4))
    assert world.act()
    kinds = [action.kind for action in world.history[0].actions]
    assert kinds == ["Secret", "Secret", "Pod", "Service", "Pod", "Pod"]
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    assert world.services == {"seedlings-1-head": world.pods[DRIVER].uid}
    assert world.says() == "False Pending"
    assert world.says("Reconciling") == "True Pending"
    assert world.job.status.observed_generation == 1
    assert world.job.status.attempts == 1
    assert world.job.status.backend == "Pods"
    environment = world.job.status.environment
    assert environment is not None
    assert (environment.image, environment.profile_generation) == (IMAGE, 1)
    assert not world.act(), "the second pass finds nothing to do"


def test_a_job_trains_and_grows_and_completes_after_its_last_pod_is_gone() -> None:
    world = training(a_world(a_training_job().with_workers(1, 2)))
    assert world.says() == "True Training"
    assert world.says("Reconciling") == "False Training"
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    world.start().settle()

    world.end(DRIVER, 0, an_outcome()).act()
    assert world.history[-1].actions == (), "the outcome is in the status before any pod is deleted"
    status = world.job.status
    assert status.model is not None
    assert status.receipt is not None
    assert world.says("Complete") == "False Trained"
    world.act()
    deleted = [action.name for action in world.history[-1].actions]
    assert deleted == ["seedlings-1-worker-0", "seedlings-1-worker-1"], "the driver's word stays to the last"
    world.settle().finish_deletions().settle()
    world.finish_deletions().settle()
    assert world.names() == []
    assert world.says("Complete") == "True Trained"
    assert world.says() == "False Trained"
    assert world.says("Failed") == "-"
    assert world.job.status.completion_time == "2030-01-02T12:00:10Z"
    assert world.job.status.duration == "10s"
    assert world.job.status.log_uri == f"s3://runs/logs/{world.job.uid}/1/{DRIVER}/"
    assert world.job.status.run_id == RUN


def test_an_attempt_that_crashes_is_followed_by_another_one_after_its_back_off() -> None:
    world = training(a_world())
    world.logs[DRIVER] = "Traceback: boom"
    world.end(DRIVER, 1).act()
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.exit_code, failure.log_tail) == ("DriverCrashed", 1, "Traceback: boom")
    assert failure.log_uri == f"s3://runs/logs/{world.job.uid}/1/{DRIVER}/"
    assert world.job.status.failures == 1
    assert world.says() == "False BackingOff"
    world.settle().finish_deletions().settle().finish_deletions().settle()
    assert world.names() == []
    world.wait(9)
    assert world.names() == [], "the back-off is at least ten seconds"
    world.wait(5)
    assert world.names() == ["2-driver", "2-worker-0"]
    env = {entry["name"]: entry.get("value") for entry in _env(world, "seedlings-2-driver")}
    assert env["SEEDBED_EXPECTED_DATASET_DIGEST"] == DATASET
    assert env["SEEDBED_EXPECTED_RUN_ID"] == RUN
    training(world, attempt=2)
    complete(world, attempt=2)
    assert world.says("Complete") == "True Trained"
    assert world.job.status.environment is not None
    assert world.job.status.environment.class_ == ENVIRONMENT


def test_the_users_mistake_fails_the_job_without_another_attempt() -> None:
    world = a_world()
    world.settle().start().settle()
    world.end(DRIVER, 2, an_outcome("Failed", "InvalidDataset", message="no manifest.json")).settle()
    assert world.says("Failed") == "False InvalidDataset", "pods are still there"
    assert world.says("Stalled") == "True InvalidDataset", "who waits for the object need not wait for them"
    world.finish_deletions().settle().finish_deletions().settle()
    assert world.says("Failed") == "True InvalidDataset"
    assert world.says("Stalled") == "True InvalidDataset"
    assert world.message("Failed") == "no manifest.json"
    assert world.names() == []
    world.wait(3600)
    assert world.names() == []


def test_suspend_stops_the_driver_first_and_resume_begins_an_uncounted_attempt() -> None:
    world = training(a_world(a_training_job().with_workers(2, 2)))
    world.edit(suspend=True).settle()
    assert world.pods[DRIVER].deleting
    assert not world.pods["seedlings-1-worker-0"].deleting, "workers serve the driver until it has ended"
    assert world.says("Suspended") == "False Suspending"
    world.end(DRIVER, 143, an_outcome("Stopped", "Stopped")).settle()
    assert world.pods["seedlings-1-worker-0"].deleting
    assert world.says("Suspended") == "False Suspending"
    world.finish_deletions().settle()
    assert world.says("Suspended") == "True Suspended"
    assert world.says() == "False Suspended"
    status = world.job.status
    assert (status.failures or 0, status.infrastructure_failures or 0, status.preemptions or 0) == (0, 0, 0)
    world.wait(3600)
    assert world.names() == []
    world.edit(suspend=False).settle()
    assert world.says("Suspended") == "False Resumed"
    assert world.names() == ["2-driver", "2-worker-0", "2-worker-1"]
    assert world.job.status.resume_time == "2030-01-02T13:00:10Z"


@pytest.mark.parametrize("ends", [False, True], ids=["it goes on", "it has ended meanwhile"])
def test_an_attempt_whose_beginning_was_not_written_is_told_by_the_next_pass(ends: bool) -> None:
    """The operator dies between the driver and the status, or an edit of the job voids the status."""
    world = a_world(a_training_job(preRunningDeadlineSeconds=900))
    unseen = world.job
    world.act()
    world.job = unseen
    world.wait(3).start()
    if ends:
        word = an_outcome("Failed", "StorageUnavailable", checkpoint=a_checkpoint(5, world.now))
        world.end(DRIVER, 75, word)
    world.settle()
    status = world.job.status
    assert (status.attempts, status.accounted_attempts) == (1, 1 if ends else 0)
    times = (status.start_time, status.attempt_start_time, status.resume_time)
    assert times == ("2030-01-02T12:00:00Z",) * 3
    assert status.backend == "Pods"
    assert status.environment is not None
    assert status.environment.image == IMAGE
    if ends:
        assert status.attempts_without_checkpoint == 0, "its checkpoint counts"
    else:
        world.wait(900)
        assert status.last_failure is None
        assert world.job.status.last_failure is not None, "its first step was waited for in vain"


def test_pods_of_an_earlier_attempt_that_stay_are_named() -> None:
    world = training(a_world())
    world.end(DRIVER, 1).settle()
    for name in list(world.pods):
        world.pods[name] = replace(world.pods[name], deleting=True, phase="Failed", terminated=ENDED)
    world.settle()
    assert world.says() == "False BackingOff"
    world.wait(60)
    assert world.says() == "False TerminatingOldPods"
    assert DRIVER in world.message()
    world.vanish(*world.pods).settle()
    assert world.names() == ["2-driver", "2-worker-0"]


def _env(world: World, pod: str) -> list[dict[str, str]]:
    return list(world.bodies[pod]["spec"]["containers"][0]["env"])
