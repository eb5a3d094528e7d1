"""A job that is being deleted: what holds it is named, its pods stop, and pods that are to stay are left alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.planning import status_after_internal_error
from support.operator.builders import NOON, a_driver, a_training_job, a_worker, an_outcome, live
from support.operator.simulated_cluster import World, a_world, complete

DRIVER = "seedlings-1-driver"
FOREGROUND, ANOTHERS = "foregroundDeletion", "example.org/archive"


def training() -> World:
    world = a_world(a_training_job().with_workers(2, 2)).settle().start().settle()
    return world.say(DRIVER, live(7, workers=WorkerCounts(ready=2, desired=2))).wait(10)


def going(world: World, *finalizers: str) -> World:
    world.job = replace(world.job, deleting=True, finalizers=finalizers)
    return world.settle()


@pytest.mark.parametrize("finalizers", [(FOREGROUND,), (ANOTHERS,), (FOREGROUND, ANOTHERS)])
def test_its_pods_stop_the_driver_first(finalizers: tuple[str, ...]) -> None:
    world = going(training(), *finalizers)
    assert world.says() == "False Stopping"
    assert "its pods end first" in world.message()
    assert [name for name, pod in world.pods.items() if pod.deleting] == [DRIVER], (
        "its workers stay for its step"
    )
    assert (ANOTHERS in world.message()) == (ANOTHERS in finalizers)
    assert FOREGROUND not in world.message(), "it is the garbage collector's, and waits for the pods"
    world.end(DRIVER, 143).settle()
    assert all(pod.deleting for name, pod in world.pods.items() if name != DRIVER)
    world.finish_deletions().settle()
    assert world.names() == []
    status = world.job.status
    assert (status.attempts, status.failures, status.infrastructure_failures) == (1, None, None), (
        "not counted"
    )


def test_once_its_pods_are_gone_it_says_who_holds_it_and_begins_nothing() -> None:
    world = going(training(), ANOTHERS)
    world.finish_deletions().settle()
    assert world.says("Stalled") == "True Stopping"
    assert world.message() == (
        f"the job is being deleted; it stays until the owners of its finalizers {ANOTHERS} remove them"
    )
    world.wait(3600)
    assert world.names() == []


@pytest.mark.parametrize(
    "before",
    [
        lambda: a_world().settle(),
        lambda: a_world(a_training_job().suspended()).settle(),
        lambda: a_world(profile=None).settle(),
        a_world,
    ],
    ids=["pods without nodes", "suspended", "no profile", "never seen"],
)
def test_a_job_in_any_state_begins_no_attempt_once_it_is_being_deleted(before) -> None:  # type: ignore[no-untyped-def]
    world = going(before(), ANOTHERS)
    world.finish_deletions().settle().wait(600)
    assert world.names() == []
    assert world.says() == "False Stopping"


def test_a_job_that_is_over_keeps_its_end_and_is_not_deleted_twice() -> None:
    world = a_world(a_training_job(ttlSecondsAfterFinished=0)).settle().start()
    world.end(DRIVER, 0, an_outcome()).settle()
    world.job = replace(world.job, deleting=True, finalizers=(ANOTHERS,))
    complete_or_deleting = world.finish_deletions().settle().finish_deletions().settle()
    assert not complete_or_deleting.deleted_job
    assert world.names() == []


def test_pods_that_are_to_be_kept_are_left_alone() -> None:
    world = training()
    known = world.job.status
    going(world, "orphan").wait(600)
    assert not any(pod.deleting for pod in world.pods.values())
    assert world.job.status == known


def test_the_operators_own_failure_is_not_told_of_a_job_that_goes() -> None:
    job = a_training_job().seen(deleting=True, finalizers=(ANOTHERS,)).build()
    assert status_after_internal_error(job, NOON, "x") is None


def left_behind(world: World, attempt: int = 1, workers: int = 2) -> World:
    """Leave the pods of a deleted job of this name, as `kubectl delete --cascade=orphan` does."""
    driver = a_driver(attempt, uid="old-driver", job_uid="old", owner_uid=None)
    pods = [
        driver,
        *(
            a_worker(i, attempt=attempt, uid=f"old-{i}", job_uid="old", owner_uid="old-driver")
            for i in range(workers)
        ),
    ]
    world.pods |= {pod.name: pod for pod in pods}
    return world.settle()


@pytest.mark.parametrize("attempt", [1, 3])
def test_pods_that_a_deleted_job_has_left_are_named_with_the_command_that_removes_them(attempt: int) -> None:
    world = left_behind(a_world(), attempt)
    assert world.says() == "False NameConflict"
    message = world.message()
    assert f"`kubectl delete pod -n team seedlings-{attempt}-driver`" in message
    assert f"seedlings-{attempt}-worker-1" in message
    assert "--cascade=orphan" in message
    world.wait(3600)
    assert not any(pod.deleting for pod in world.pods.values()), "they are another's"
    world.vanish(f"seedlings-{attempt}-driver").collect_garbage().finish_deletions().settle()
    world.wait(60)
    assert world.names() == ["1-driver", "1-worker-0"]


def test_a_pod_of_a_deleted_job_that_the_garbage_collector_ends_is_waited_for() -> None:
    world = a_world()
    world.pods[DRIVER] = a_driver(uid="old", job_uid="old", owner_uid="old", deleting=True)
    world.settle()
    assert world.says() == "False TerminatingOldPods"


def test_complete_is_said_of_a_job_that_ends_while_nobody_deletes_it() -> None:
    """Check the checks above."""
    assert complete(training()).says("Complete") == "True Trained"
