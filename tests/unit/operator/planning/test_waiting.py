"""Why is my job not running? Each situation, from what the cluster says to one reason and what to change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from seedbed_operator.job_observation import RejectedWrite
from support.operator.builders import (
    ENVIRONMENT,
    IMAGE,
    a_pod,
    a_profile,
    a_training_job,
    live,
)
from support.operator.simulated_cluster import World, a_world
from unit.operator.planning.waiting_cases import (
    DRIVER,
    GPUS,
    QUOTA,
    SITUATIONS,
    WORKER,
    forbidden,
    older_objects_driver,
    one_worker_of_two,
    unplaced,
    waiting,
)


@pytest.mark.parametrize(("happen", "reason", "told"), SITUATIONS.values(), ids=SITUATIONS.keys())
def test_a_job_that_does_not_run_says_why_and_what_to_change(
    happen: Callable[[World], Any], reason: str, told: str
) -> None:
    least = 2 if happen is one_worker_of_two else 1
    world = a_world(a_training_job().with_workers(least, 2))
    happen(world)
    assert world.says() == f"False {reason}"
    assert told in world.message()
    assert "\n" not in world.message()


def test_a_pool_that_is_full_is_not_told_to_change_its_labels_or_taints() -> None:
    world = a_world(a_training_job().with_workers(1, 2))
    unplaced(GPUS)(world)
    assert "add nodes to the pool" in world.message()
    assert "toleration" not in world.message()
    assert "preemption" not in world.message()


OTHER_IMAGE = IMAGE.replace("a" * 64, "b" * 64)


def suspended_and_resumed(world: World) -> World:
    world.edit(suspend=True).settle().finish_deletions().settle()
    assert world.says() == "False Suspended"
    return world.edit(suspend=False).settle()


def test_a_corrected_image_counts_from_the_next_attempt_while_none_has_computed() -> None:
    world = a_world()
    waiting("ErrImagePull", "not found")(world)
    world.profile = a_profile(image=OTHER_IMAGE)
    suspended_and_resumed(world)
    bodies = [world.bodies[f"seedlings-2-{role}"] for role in ("driver", "worker-0")]
    assert {body["spec"]["containers"][0]["image"] for body in bodies} == {OTHER_IMAGE}
    assert world.job.status.environment is not None
    assert world.job.status.environment.image == OTHER_IMAGE


def test_the_image_in_which_workers_have_computed_stays() -> None:
    world = a_world().settle().start().settle()
    world.say(DRIVER, live(3, environment_class=ENVIRONMENT)).wait(10)
    world.profile = a_profile(image=OTHER_IMAGE)
    suspended_and_resumed(world)
    assert world.bodies["seedlings-2-driver"]["spec"]["containers"][0]["image"] == IMAGE


def test_labels_that_no_node_has_are_named() -> None:
    worker = {"nodeSelector": {"pool": "gpu", "accelerator": "a100"}}
    world = a_world(a_training_job().with_workers(1, 2), profile=a_profile(worker=worker))
    unplaced("0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.")(world)
    assert (
        "label nodes pool=gpu, accelerator=a100 to match nodeSelector of the profile's worker"
        in world.message()
    )


def test_there_are_many_situations() -> None:
    assert len({reason for _, reason, _ in SITUATIONS.values()}) >= 15


def test_a_refused_driver_is_no_attempt_and_is_tried_again_ever_more_slowly() -> None:
    world = a_world()
    forbidden(QUOTA)(world)
    assert world.job.status.attempts is None
    assert world.job.status.observed_generation == 1
    assert world.names() == []
    for pause in (5, 10, 20, 40):
        tried = len([made for made in world.history if made.actions])
        world.wait(pause - 1)
        assert len([made for made in world.history if made.actions]) == tried, "not before the pause is over"
        world.wait(1)
        assert len([made for made in world.history if made.actions]) == tried + 1
    world.refuses.clear()
    world.wait(100)
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.says() == "False Pending"


def test_workers_that_a_quota_refuses_do_not_leave_a_driver_waiting_for_ever() -> None:
    world = a_world()
    forbidden(QUOTA, WORKER)(world)
    assert world.job.status.attempts == 1
    assert world.names() == ["1-driver"]
    world.start().settle().wait(310)
    world.finish_deletions().settle()
    assert world.names() == []
    assert world.says() == "False QuotaExceeded"
    assert (world.job.status.failures or 0) == 0


def test_a_profile_that_appears_lets_the_job_begin() -> None:
    world = a_world(profile=None).settle()
    assert world.says("Reconciling") == "True ProfileNotFound"
    assert world.says("Stalled") == "-"
    world.profile = a_profile()
    world.settle()
    assert world.names() == ["1-driver", "1-worker-0"]


def test_pods_of_a_deleted_job_are_waited_for_and_never_touched() -> None:
    world = a_world()
    older_objects_driver(world)
    assert world.pods[DRIVER].uid == "old"
    world.vanish(DRIVER).settle()
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.pods[DRIVER].uid != "old"


def test_pods_that_only_bear_our_labels_hold_nobody_up() -> None:
    world = a_world()
    pod = a_pod("worker", name="web-7d9f-x2x", uid="web", attempt=1, job_uid="other", owner_uid="replicaset")
    world.pods[pod.name] = pod
    world.settle()
    assert "1-driver" in world.names()


def test_a_refused_deletion_is_tried_again_ever_more_slowly() -> None:
    world = a_world().settle().start().settle()
    world.edit(suspend=True)
    world.rejected_writes = (
        RejectedWrite(
            kind="Pod", name=DRIVER, code=403, reason="Forbidden", message="no", time=world.now, count=3
        ),
    )
    world.settle()
    assert not world.pods[DRIVER].deleting
    assert world.requeue_at == world.now + timedelta(seconds=20)
    world.wait(20)
    assert world.pods[DRIVER].deleting
