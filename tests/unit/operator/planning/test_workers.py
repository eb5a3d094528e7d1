"""Workers: all or nothing at first, more of them where they help, replaced when they are lost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.job_observation import PodEvent
from support.operator.builders import a_profile, a_training_job, a_worker, ended, live
from support.operator.simulated_cluster import World, a_world

DRIVER = "seedlings-1-driver"
FULL = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def worker(index: int, attempt: int = 1) -> str:
    return f"seedlings-{attempt}-worker-{index}"


def training(world: World, step: int = 7, ready: int = 1) -> World:
    world.settle().start().settle()
    word = live(step, workers=WorkerCounts(ready=ready, desired=ready))
    return world.say(DRIVER, word).wait(10)


def test_a_gang_that_is_not_complete_gives_back_what_it_holds_uncounted() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle()
    world.start(DRIVER, worker(0)).unschedulable(worker(1), FULL).wait(59)
    assert world.says() == "False Unschedulable"
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    world.wait(1)
    assert world.says() == "False Unschedulable"
    assert "its pods are deleted" in world.message()
    assert "Insufficient nvidia.com/gpu" in world.message()
    assert world.pods[DRIVER].deleting
    world.finish_deletions().settle()
    assert world.names() == []
    status = world.job.status
    assert (status.failures or 0, status.infrastructure_failures or 0, status.preemptions or 0) == (0, 0, 0)
    assert status.last_failure is None
    world.wait(20)
    assert world.names() == ["2-driver", "2-worker-0", "2-worker-1"]


def test_a_gang_that_holds_nothing_waits_for_as_long_as_it_takes() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle()
    for name in world.waiting():
        world.unschedulable(name, FULL)
    world.settle().wait(7200)
    assert world.job.status.attempts == 1
    assert world.says() == "False Unschedulable"


def test_a_lone_driver_waits_longer_before_it_gives_back() -> None:
    world = a_world().settle()
    world.start(DRIVER).unschedulable(worker(0), FULL).wait(299)
    assert not world.pods[DRIVER].deleting
    world.wait(1)
    assert world.pods[DRIVER].deleting


@pytest.mark.parametrize(("admitted", "patience"), [((DRIVER,), 300), ((DRIVER, worker(0)), 60)])
def test_what_a_queue_has_admitted_in_part_is_given_back_counted_from_then(
    admitted: tuple[str, ...], patience: int
) -> None:
    world = gated(a_world(a_training_job().with_workers(2, 2)).settle())
    world.wait(7200)
    assert world.says() == "False Queued"
    world.start(*admitted).settle().wait(patience - 1)
    assert f"admitted {len(admitted)} of 3 pods" in world.message()
    assert not world.pods[DRIVER].deleting
    world.wait(1)
    assert world.pods[DRIVER].deleting
    assert "its pods are deleted" in world.message()


def gated(world: World) -> World:
    for name, pod in world.pods.items():
        world.pods[name] = replace(pod, gated=True)
    return world.settle()


COMING = {
    "cluster autoscaler, GKE, AKS": ("TriggeredScaleUp", "pod triggered scale-up: [{pool 0->1 (max: 3)}]"),
    "Karpenter": ("Nominated", "Pod should schedule on: nodeclaim/gpu-7x2kq"),
    "Karpenter, a node that comes": ("Nominated", "Pod should schedule on: node/ip-10-0-0-7"),
    "a provisioning request": ("", "Unschedulable pod is consuming ProvisioningRequest team/gpus"),
    "another version": ("PodNominated", "should schedule on nodeclaim/gpu-7x2kq"),
    "another cloud": ("ProvisionNode", "Provision node asa-2ze2h0f4m5ctpd8k"),
}
NOT_COMING = {
    "the autoscaler cannot": (
        "NotTriggerScaleUp",
        "pod didn't trigger scale-up: 1 max node group size reached",
    ),
    "Karpenter cannot": ("FailedScheduling", "Failed to schedule pod, no instance type for nodeclaim/x"),
    "the scheduler": ("FailedScheduling", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."),
    "something else": ("Scheduled", "x"),
}


def given_back_after_ten_minutes(reason: str, message: str, asked: int) -> bool:
    world = a_world(a_training_job().with_workers(4, 4)).settle()
    world.start(DRIVER, worker(0))
    for index in (1, 2, 3):
        world.unschedulable(worker(index), FULL)
    world.pod_events[worker(asked)] = (PodEvent(reason=reason, message=message, time=world.now),)
    world.wait(600)
    given_back = world.pods[DRIVER].deleting
    if not given_back:
        world.start().settle()
        assert world.job.status.attempts == 1
    return given_back


@pytest.mark.parametrize(("reason", "message"), COMING.values(), ids=COMING.keys())
def test_new_nodes_are_waited_for(reason: str, message: str) -> None:
    assert not given_back_after_ten_minutes(reason, message, 1)
    assert not given_back_after_ten_minutes(reason, message, 3), "each pod has events of its own"


@pytest.mark.parametrize(("reason", "message"), NOT_COMING.values(), ids=NOT_COMING.keys())
def test_nodes_that_do_not_come_are_not_waited_for(reason: str, message: str) -> None:
    assert given_back_after_ten_minutes(reason, message, 1)


@pytest.mark.parametrize(
    ("least", "most", "per_pod", "first", "then"),
    [
        (1, 1, 1, 1, 1),
        (1, 4, 1, 1, 4),
        (2, 8, 1, 2, 8),
        (1, 7, 1, 1, 4),
        (5, 7, 1, 5, 5),
        (3, 3, 1, 3, 3),
        (1, 8, 4, 1, 2),
        (2, 6, 4, 1, 1),
    ],
    ids=[
        "one",
        "to the maximum",
        "all shards",
        "5, 6 and 7 are no faster than 4",
        "never below the minimum",
        "3 of 8 shards help",
        "four ranks share a pod",
        "a half full pod",
    ],
)
def test_an_attempt_starts_small_and_grows_to_what_helps(
    least: int, most: int, per_pod: int, first: int, then: int
) -> None:
    profile = a_profile(worker={"workersPerPod": per_pod})
    world = a_world(a_training_job().with_workers(least, most), profile=profile).settle()
    assert len(world.names()) - 1 == first
    training(world)
    assert len(world.names()) - 1 == then


def test_workers_that_find_no_node_do_not_stop_those_that_train() -> None:
    world = training(a_world(a_training_job().with_workers(1, 2)))
    world.unschedulable(worker(1), FULL).wait(300)
    assert world.says() == "True Training"
    assert "trains with fewer workers: no node" in world.message()
    assert world.job.status.workers == WorkerCounts(ready=1, desired=2)


def test_a_lost_worker_is_replaced_at_once_under_a_new_name() -> None:
    world = training(a_world(a_training_job().with_workers(2, 2)), ready=2)
    world.lose_node(worker(1)).settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1", "1-worker-2"]
    assert world.says() == "True Training"


def test_a_vanished_worker_is_replaced_under_its_own_name() -> None:
    world = training(a_world(a_training_job().with_workers(2, 2)), ready=2)
    world.vanish(worker(0)).settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


def crash(world: World, index: int) -> None:
    world.start().settle()
    world.pods[worker(index)] = ended(world.pods[worker(index)], 1, at=world.now)
    world.settle()


def test_crashing_workers_are_replaced_ever_more_slowly_and_then_fail_the_attempt() -> None:
    world = training(a_world())
    for index, pause in enumerate((10, 20, 40)):
        crash(world, index)
        world.wait(pause - 1)
        assert worker(index + 1) not in world.pods
        world.wait(1)
        assert worker(index + 1) in world.pods
    crash(world, 3)
    failure = world.job.status.last_failure
    assert failure is not None
    assert (failure.reason, failure.pod, world.job.status.failures) == ("WorkersLost", worker(3), 1)


@pytest.mark.slow
def test_crashes_that_are_far_apart_are_no_loop_and_leave_few_pods() -> None:
    world = training(a_world(), step=1)
    for index in range(8):
        crash(world, min(index, 4) if index < 5 else _newest(world))
        for step in range(12):
            world.say(DRIVER, live(10 * index + step)).wait(60)
    assert (world.job.status.failures or 0) == 0
    assert len([pod for pod in world.pods.values() if pod.role == "worker" and pod.ended]) <= 5
    assert world.says() == "True Training"


def test_evicted_workers_are_not_kept_without_bound() -> None:
    world = training(a_world())
    for _ in range(8):
        at = _newest(world)
        world.end(worker(at), 137)
        world.pods[worker(at)] = replace(world.pods[worker(at)], disruption="TerminationByKubelet")
        world.settle().start().settle()
    assert len([pod for pod in world.pods.values() if pod.role == "worker" and pod.ended]) <= 4


def take_away(world: World, index: int = 0) -> None:
    """Preempt a worker for good: its object is gone when its grace is over."""
    world.vanish(worker(index)).settle().start().settle()


def replaced_count(world: World) -> int | None:
    assert world.job.status.workers is not None
    return world.job.status.workers.replaced


def test_workers_that_are_taken_away_are_replaced_at_once_but_not_without_bound() -> None:
    world = training(a_world(a_training_job(backoffLimit=1)))
    for number in range(1, 21):
        take_away(world)
        assert replaced_count(world) == number
        assert world.says() == "True Training"
    world.vanish(worker(0)).settle()
    assert world.says() == "False Preempted"
    assert "20 worker pods of the attempt were preempted or lost" in world.message()
    status = world.job.status
    assert (status.preemptions, status.failures, status.accounted_attempts) == (1, None, 1)
    world.finish_deletions().settle().finish_deletions().wait(10)
    assert world.names() == ["2-driver", "2-worker-0"]
    assert replaced_count(world) is None, "the next attempt may replace as many"


def test_first_workers_and_growth_are_no_replacements() -> None:
    world = training(a_world(a_training_job().with_workers(1, 4)))
    world.start().settle().wait(30)
    assert len(world.names()) == 5
    assert replaced_count(world) is None


def test_an_attempt_that_has_used_up_its_replacements_goes_on_with_its_minimum() -> None:
    world = training(a_world(a_training_job(backoffLimit=0).with_workers(1, 2)))
    world.start().settle()
    for _ in range(20):
        take_away(world, 1)
    world.vanish(worker(1)).settle().wait(60)
    assert world.names() == ["1-driver", "1-worker-0"]
    assert world.says() == "True Training"
    world.vanish(worker(0)).settle()
    assert world.says() == "False Preempted"


def test_a_replacement_that_a_quota_refuses_is_none() -> None:
    world = training(a_world(a_training_job(backoffLimit=0)))
    world.refuses[worker(0)] = (403, "Forbidden", "exceeded quota: team")
    world.vanish(worker(0)).settle().wait(200)
    assert replaced_count(world) is None
    world.refuses.clear()
    world.wait(200)
    assert worker(0) in world.pods
    assert replaced_count(world) == 1


def _newest(world: World) -> int:
    return next(pod.index for pod in world.pods.values() if pod.role == "worker" and not pod.ended)


def test_no_worker_is_replaced_while_the_driver_finishes() -> None:
    world = training(a_world(a_training_job().with_workers(2, 2)), ready=2)
    world.say(DRIVER, live(100, "Finishing"))
    world.end(worker(0), 0).wait(60)
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


def test_what_a_crash_of_the_operator_left_out_is_created_by_the_next_pass() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle()
    world.vanish(worker(0), worker(1))
    world.services.clear()
    world.settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    assert world.services == {"seedlings-1-head": world.pods[DRIVER].uid}


@pytest.mark.parametrize(
    "foreign",
    [
        {"owner_uid": "driver-of-another-object"},
        {"owner_uid": None},
        {"job_uid": "another"},
        {"name": "not-our-name"},
    ],
    ids=["another driver's", "nobody's", "another job's", "another name"],
)
def test_workers_of_others_are_neither_counted_nor_touched(foreign: dict[str, Any]) -> None:
    world = training(a_world(a_training_job().with_workers(1, 2)))
    pod = replace(a_worker(7, uid="foreign"), **foreign)
    world.pods[pod.name] = pod
    world.lose_node(worker(0)).settle()
    world.edit(suspend=True).settle()
    touched = [
        action for made in world.history for action in made.actions if getattr(action, "uid", "") == "foreign"
    ]
    assert touched == []


def test_a_job_trains_on_when_its_profile_is_deleted_and_waits_for_it_before_the_next_attempt() -> None:
    world = training(a_world())
    world.profile = None
    world.wait(60)
    assert world.says() == "True Training"
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(30)
    assert world.says() == "False ProfileNotFound"
    assert world.names() == []


def test_a_later_attempt_runs_the_image_that_the_first_one_pinned() -> None:
    world = training(a_world())
    pinned = world.bodies[DRIVER]["spec"]["containers"][0]["image"]
    world.profile = a_profile(generation=2, image="registry.example/seedbed@sha256:" + "7" * 64)
    world.end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().wait(30)
    assert world.bodies["seedlings-2-driver"]["spec"]["containers"][0]["image"] == pinned
    assert world.bodies["seedlings-2-worker-0"]["spec"]["containers"][0]["image"] == pinned
    assert world.job.status.environment is not None
    assert world.job.status.environment.profile_generation == 1


def test_a_gang_whose_workers_crash_at_their_start_is_a_failure_and_not_given_back() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle()
    for _ in range(8):
        for name in [name for name, pod in world.pods.items() if pod.role == "worker"]:
            if world.pods[name].phase == "Running":
                world.pods[name] = ended(world.pods[name], 1, at=world.now)
        world.settle()
        if world.job.status.failures:
            break
        world.wait(45).start().settle()
    assert world.job.status.failures == 1
    assert world.job.status.last_failure is not None
    assert world.job.status.last_failure.reason == "WorkersLost"


def test_a_worker_that_is_replaced_before_the_first_step_gets_its_own_time() -> None:
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle().wait(200)
    world.vanish(worker(1)).settle()
    world.wait(30)
    assert world.job.status.accounted_attempts == 0
    world.wait(30)
    assert world.job.status.accounted_attempts == 1


def test_a_driver_that_came_back_from_a_lost_node_is_stopped() -> None:
    world = training(a_world())
    world.pods[DRIVER] = replace(world.pods[DRIVER], phase="Unknown")
    world.settle().finish_deletions().wait(30)
    assert "2-driver" in world.names()
    world.pods[DRIVER] = replace(world.pods[DRIVER], phase="Running", deleting=False, deletion_due=None)
    world.start().settle()
    assert world.pods[DRIVER].deleting
    assert not world.pods["seedlings-2-driver"].deleting
