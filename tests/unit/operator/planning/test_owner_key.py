"""The Secret with the key of a namespace is deleted before pods have mounted it: the operator makes another, once."""

from __future__ import annotations

import pytest

from seedbed_operator.job_observation import PodEvent
from seedbed_operator.plan import Create
from support.operator.builders import a_profile, a_training_job, live
from support.operator.simulated_cluster import World, a_world

KEY = "seedbed-owner"
DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"
MISSING = f'MountVolume.SetUp failed for volume "owner-secret" : secret "{KEY}" not found'


def without_key(world: World, pod: str) -> World:
    """Let a kubelet report that the Secret is not there."""
    world.secrets.discard(KEY)
    world.history.clear()
    world.schedule(pod)
    world.pod_events[pod] = (PodEvent(reason="FailedMount", message=MISSING, time=world.now),)
    return world.wait(10)


def creations(world: World) -> list[bool]:
    """Return for each creation of the key whether other jobs are asked for it."""
    actions = (action for plan in world.history for action in plan.actions)
    return [action.shared for action in actions if isinstance(action, Create) and action.name == KEY]


@pytest.mark.parametrize("pod", [DRIVER, WORKER])
def test_it_is_created_again_and_the_attempt_goes_on(pod: str) -> None:
    world = a_world().settle()
    world.start(WORKER if pod == DRIVER else DRIVER)
    without_key(world, pod)
    assert KEY in world.secrets
    assert "seedbed-owner of the namespace was deleted; it is created again" in world.message()
    assert world.says() == "False SecretNotFound"
    world.wait(60)
    assert creations(world) == [False], "once, although the kubelet's event is still there"
    world.start(pod).settle().say(DRIVER, live(1)).wait(20)
    assert world.says() == "True Training"
    assert world.job.status.attempts == 1


def test_it_is_tried_again_after_a_refusal() -> None:
    world = a_world().settle()
    world.start(WORKER)
    world.refuses[KEY] = (403, "Forbidden", f'secrets "{KEY}" is forbidden: exceeded quota: team')
    without_key(world, DRIVER)
    assert KEY not in world.secrets
    del world.refuses[KEY]
    world.wait(60)
    assert KEY in world.secrets


def test_a_job_that_believes_the_store_has_no_key() -> None:
    world = a_world(a_training_job(), profile=a_profile(outputTrust="Store")).settle()
    assert KEY not in world.secrets
