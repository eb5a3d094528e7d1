"""An attempt that has trained and has lost workers: explained, given back, neither hung nor a failure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import PodEvent
from support.operator.builders import a_profile, a_training_job, ended, live
from support.operator.simulated_cluster import World, a_world

DRIVER = "seedlings-1-driver"
FULL = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def worker(index: int) -> str:
    return f"seedlings-1-worker-{index}"


def regrouping(world: World, ready: int = 1) -> World:
    """Let the driver say that it waits for workers."""
    return world.say(DRIVER, live(7, "Starting", workers=WorkerCounts(ready=ready, desired=2)))


def training(least: int = 2, **spec: Any) -> World:
    world = a_world(a_training_job(**spec).with_workers(least, max(least, 2))).settle().start().settle()
    word = live(7, workers=WorkerCounts(ready=least, desired=least))
    return world.say(DRIVER, word).wait(10).start().settle()


def lost(world: World, index: int = 0) -> World:
    """Take a worker away with its node, for good, and let the driver notice."""
    world.vanish(worker(index))
    return regrouping(world).settle()


def counted(world: World) -> tuple[int | None, ...]:
    status = world.job.status
    return status.failures, status.infrastructure_failures, status.attempts_without_checkpoint


def no_node(world: World) -> None:
    lost(world).unschedulable(worker(0), FULL)


def queued(world: World) -> None:
    lost(world)
    world.pods[worker(0)] = replace(world.pods[worker(0)], gated=True)


def no_image(world: World) -> None:
    lost(world).cannot_start(worker(0), "ErrImagePull", "manifest unknown")


def no_container(world: World) -> None:
    message = 'secret "s3-keys" not found'
    lost(world).cannot_start(worker(0), "CreateContainerConfigError", message)


def no_secret(world: World) -> None:
    lost(world).schedule(worker(0))
    message = 'MountVolume.SetUp failed for volume "x" : secret "s3-read" not found'
    world.pod_events[worker(0)] = (PodEvent(reason="FailedMount", message=message, time=world.now),)


def no_volume(world: World) -> None:
    lost(world).schedule(worker(0))
    message = "Multi-Attach error for volume pvc-1"
    world.pod_events[worker(0)] = (PodEvent(reason="FailedAttachVolume", message=message, time=world.now),)


def slow_start(world: World) -> None:
    lost(world).schedule(worker(0))


def no_quota(world: World) -> None:
    world.refuses[worker(0)] = (403, "Forbidden", "exceeded quota: team")
    lost(world)


def no_profile(world: World) -> None:
    world.profile = None
    lost(world)


def invalid_profile(world: World) -> None:
    world.profile = replace(a_profile(), spec=None, spec_error="spec.image: must be an image by digest")
    lost(world)


def forbidden_override(world: World) -> None:
    spec = world.job.spec
    assert spec is not None
    world.profile = a_profile(allowedURIPrefixes=["s3://elsewhere/"])
    lost(world)


def no_word(world: World) -> None:
    lost(world)


LACKS: dict[str, tuple[Callable[[World], Any], str, str]] = {
    "no node after a spot node was reclaimed": (no_node, "Unschedulable", "add nodes to the pool"),
    "a queue holds the replacement": (queued, "Queued", "the queue has admitted 2 of 3 pods"),
    "the image is gone": (no_image, "ImagePullFailed", "the image does not exist"),
    "a key of a Secret is gone": (
        no_container,
        "SecretNotFound",
        "Secret s3-keys does not exist",
    ),
    "a mounted Secret is gone": (no_secret, "SecretNotFound", "Secret s3-read does not exist"),
    "a volume is held elsewhere": (no_volume, "VolumeUnavailable", "Multi-Attach error"),
    "a large image": (slow_start, "ContainerCreating", "its image is pulled"),
    "a quota": (no_quota, "QuotaExceeded", "raise the ResourceQuota"),
    "the profile was deleted": (no_profile, "ProfileNotFound", "TrainingProfile default does not exist"),
    "the profile became invalid": (invalid_profile, "ProfileInvalid", "must be an image by digest"),
    "the profile allows no longer what the job has": (forbidden_override, "URINotAllowed", "is not allowed"),
    "nothing is known but that it waits": (no_word, "WorkersPending", "1 worker pods wait for a node"),
}


@pytest.mark.parametrize(("happen", "reason", "told"), LACKS.values(), ids=LACKS.keys())
def test_a_replacement_that_waits_is_explained_as_a_first_worker_is_and_given_back_uncounted(
    happen: Callable[[World], Any], reason: str, told: str
) -> None:
    world = training(progressDeadlineSeconds=40, preRunningDeadlineSeconds=120)
    happen(world)
    world.settle().wait(15)
    assert world.says() == "True Training", "it may be replaced soon"
    assert told in world.message()
    world.wait(20)
    assert world.says() == f"False {reason}"
    assert told in world.message()
    for _ in range(120):
        world.wait(0 if world.pods[DRIVER].deleting else 1)
    assert world.pods[DRIVER].deleting
    assert "its pods are deleted" in world.message()
    assert told in world.message()
    assert counted(world) == (None, None, None)
    assert world.job.status.last_failure is None


def test_a_lone_driver_whose_worker_finds_no_node_waits_and_is_not_counted() -> None:
    world = training(1, progressDeadlineSeconds=60)
    world.vanish(worker(1), worker(0))
    regrouping(world, ready=0).settle()
    for index in (0, 1):
        world.unschedulable(worker(index), FULL)
    world.wait(299)
    assert (world.says(), world.pods[DRIVER].deleting) == ("False Unschedulable", False)
    world.wait(5).finish_deletions().settle().finish_deletions().wait(20)
    assert world.names() == ["2-driver", "2-worker-0"]
    world.unschedulable("seedlings-2-driver", FULL).wait(5000)
    assert (world.says(), world.job.status.attempts, counted(world)) == (
        "False Unschedulable",
        2,
        (None,) * 3,
    )


@pytest.mark.parametrize("reason", ["TriggeredScaleUp", "Nominated"])
def test_new_nodes_are_waited_for_after_the_first_step_too(reason: str) -> None:
    world = training(progressDeadlineSeconds=60)
    no_node(world)
    world.pod_events[worker(0)] = (PodEvent(reason=reason, message="a node comes", time=world.now),)
    world.settle().wait(600)
    assert not world.pods[DRIVER].deleting
    world.start().settle()
    assert world.says() == "True Training"
    world.say(DRIVER, live(8, workers=WorkerCounts(ready=2, desired=2))).wait(30)
    assert (world.job.status.attempts, counted(world)) == (1, (None,) * 3)


def test_the_time_without_workers_is_no_hang_and_that_after_it_is() -> None:
    world = training(progressDeadlineSeconds=60)
    no_image(world)
    world.settle().wait(300)
    world.start(worker(0)).settle()
    assert world.says() == "True Training"
    world.wait(59)
    assert world.job.status.accounted_attempts == 0
    world.wait(1)
    failure = world.job.status.last_failure
    assert failure is not None
    assert failure.reason == "ProgressDeadlineExceeded"
    assert failure.message is not None
    assert "1 of at least 2 workers have joined" in failure.message


def test_a_restarted_operator_goes_on_waiting_where_the_last_one_stopped() -> None:
    world = training(progressDeadlineSeconds=60)
    no_node(world)
    world.settle().wait(40)
    assert world.says() == "False Unschedulable"
    world.driver_responses.clear()
    world.changed.clear()
    world.status_written = None
    world.settle()
    assert world.says() == "False Unschedulable"
    world.wait(20)
    assert world.pods[DRIVER].deleting, "a minute altogether"


def test_a_driver_that_says_it_trains_is_believed_until_it_makes_no_step() -> None:
    world = training(1, progressDeadlineSeconds=600)
    world.vanish(worker(0), worker(1)).settle()
    for step in range(8, 20):
        world.say(DRIVER, live(step)).wait(60)
        assert world.says() == "True Training"
    assert world.job.status.attempts == 1
    world.wait(600)
    assert (world.pods[DRIVER].deleting, counted(world)) == (True, (None,) * 3)


def test_a_worker_that_is_replaced_soon_is_no_event() -> None:
    world = training()
    lost(world).wait(10).start().settle()
    world.say(DRIVER, live(8, workers=WorkerCounts(ready=2, desired=2))).wait(20)
    assert world.says() == "True Training"
    assert world.reasons.count("Training") == len(
        [reason for reason in world.reasons if reason == "Training"]
    )
    assert set(world.reasons) <= {"Pending", "WorkersPending", "RayStarting", "Training"}
    assert not [event for made in world.history for event in made.events if event.type == "Warning"]


def test_a_driver_that_finishes_needs_no_workers() -> None:
    world = training(progressDeadlineSeconds=900)
    world.say(DRIVER, live(100, "Finishing"))
    for index in (0, 1):
        world.pods[worker(index)] = ended(world.pods[worker(index)], 0, at=world.now)
    world.settle().wait(600)
    assert world.says() == "True Training"
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


def test_an_attempt_whose_workers_are_there_again_says_so_although_its_driver_is_silent() -> None:
    world = training()
    no_node(world)
    world.settle().wait(40)
    assert world.says() == "False Unschedulable"
    world.pod_events[worker(0)] = (PodEvent(reason="Nominated", message="a node comes", time=world.now),)
    world.answers.clear()
    world.wait(15)
    world.start().settle()
    assert world.says() == "True Training"
    assert "no node" not in world.message()


def test_an_attempt_that_cannot_grow_for_want_of_its_profile_says_so() -> None:
    world = a_world(a_training_job().with_workers(1, 2)).settle().start().settle()
    world.profile = None
    world.say(DRIVER, live(7)).wait(10)
    assert world.says() == "True Training"
    assert (
        "trains with fewer workers: spec.cluster.profile: TrainingProfile default does not exist"
        in world.message()
    )


@pytest.mark.parametrize(
    ("happen", "told"),
    [
        (lambda world: world.unschedulable(worker(1), FULL), "no node for the worker pod"),
        (
            lambda world: world.cannot_start(worker(1), "ErrImagePull", "not found"),
            "the image does not exist",
        ),
        (lambda world: world.schedule(worker(1)), "its image is pulled"),
    ],
    ids=["no node", "no image", "slow"],
)
def test_why_an_attempt_does_not_grow_is_told_beside_that_it_trains(
    happen: Callable[[World], Any], told: str
) -> None:
    world = a_world(a_training_job().with_workers(1, 2)).settle().start().settle()
    world.say(DRIVER, live(7)).wait(10)
    happen(world)
    for step in range(8, 14):
        world.say(DRIVER, live(step)).wait(60)
    assert world.says() == "True Training"
    assert world.message().startswith("trains with fewer workers: ")
    assert told in world.message()
