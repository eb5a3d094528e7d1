"""The Secret with the job's Ray token is deleted: the attempt ends with a reason, and the next one makes another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import ContainerWaiting
from support.operator.builders import UID, a_training_job, live
from support.operator.simulated_cluster import World, a_world

TOKEN = f"seedlings-{UID[:8]}-ray"
DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"


def without_secret(world: World, pod: str, secret: str = TOKEN) -> World:
    world.secrets.discard(secret)
    world.schedule(pod)
    waiting = ContainerWaiting(reason="CreateContainerConfigError", message=f'secret "{secret}" not found')
    world.pods[pod] = replace(world.pods[pod], waiting=waiting)
    return world.settle()


def training(least: int, most: int) -> World:
    world = a_world(a_training_job().with_workers(least, most)).settle().start().settle()
    return world.say(DRIVER, live(7, workers=WorkerCounts(ready=least, desired=most))).wait(10)


def ends_and_begins_anew(world: World) -> None:
    """The driver is told to stop, which checkpoints; the next attempt has a token of its own."""
    failure = world.job.status.last_failure
    assert failure is not None
    assert failure.reason == "SecretNotFound"
    assert f"Secret {TOKEN}" in failure.message
    assert DRIVER not in world.pods or world.pods[DRIVER].deleting
    world.finish_deletions().settle().wait(60)
    assert world.names() == ["2-driver", *(f"2-worker-{index}" for index in range(len(world.names()) - 1))]
    assert TOKEN in world.secrets
    assert (world.job.status.failures or 0, world.job.status.infrastructure_failures) == (0, 1)


@pytest.mark.parametrize("pod", [DRIVER, WORKER])
def test_before_the_first_step(pod: str) -> None:
    world = a_world().settle()
    world.start(WORKER if pod == DRIVER else DRIVER)
    without_secret(world, pod)
    assert world.says() == "False SecretNotFound"
    assert "it was deleted" in world.message()
    assert "create it" not in world.message(), "another token is of no use"
    world.wait(19)
    assert world.job.status.last_failure is None, "a kubelet asks again"
    world.wait(1)
    ends_and_begins_anew(world)


def test_a_worker_that_is_replaced_while_the_job_trains() -> None:
    world = training(2, 2)
    world.lose_node("seedlings-1-worker-1").settle()
    without_secret(world, "seedlings-1-worker-2").wait(20)
    ends_and_begins_anew(world)


def test_a_worker_above_the_minimum() -> None:
    """The job would train on with fewer workers than it could have, for as long as it takes."""
    world = training(1, 2)
    without_secret(world, "seedlings-1-worker-1").wait(20)
    ends_and_begins_anew(world)


def test_an_attempt_all_of_whose_pods_run_goes_on_with_the_token_that_they_have() -> None:
    world = training(1, 1)
    world.secrets.clear()
    world.wait(300)
    assert world.says() == "True Training"


def test_another_secret_ends_nothing() -> None:
    world = a_world().settle().start(DRIVER)
    without_secret(world, WORKER, "s3-read").wait(60)
    assert world.job.status.attempts == 1
    assert "create it in the namespace of the job" in world.message()
