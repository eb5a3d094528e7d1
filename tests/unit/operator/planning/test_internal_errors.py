"""Wherever a job is when the operator fails at it: the word of that, once taken back, has changed nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from seedbed_operator.planning import events_between, status_after_internal_error
from support.operator.builders import a_checkpoint, a_training_job, an_outcome, live
from support.operator.simulated_cluster import World, a_world

DRIVER = "seedlings-1-driver"
KINDS = ("Running", "Reconciling", "Stalled", "Complete", "Failed", "Suspended")


def training() -> World:
    world = a_world(a_training_job().with_workers(1, 2)).settle().start().settle()
    return world.say(DRIVER, live(7, checkpoint=a_checkpoint(5))).wait(10)


def silent() -> World:
    """Return a job that trains and whose driver is not to be heard."""
    world = training()
    world.answers.clear()
    return world.wait(15)


def suspended() -> World:
    return a_world(a_training_job().suspended()).settle()


def starting() -> World:
    return a_world().settle().start().settle()


def backing_off() -> World:
    return training().end(DRIVER, 1).settle().finish_deletions().settle().finish_deletions().settle()


def failing() -> World:
    return training().end(DRIVER, 2, an_outcome("Failed", "ModelError")).settle()


def stalled() -> World:
    return a_world(a_training_job().with_overrides(priorityClassName="gold")).settle()


STATIONS = (training, silent, suspended, starting, backing_off, failing, stalled)


@pytest.mark.parametrize("station", STATIONS, ids=[station.__name__ for station in STATIONS])
def test_a_job_goes_on_as_if_the_operator_had_not_failed_at_it(station: Callable[[], World]) -> None:
    world, undisturbed = station(), station()
    failed_at(world)
    ran = undisturbed.says().startswith("True")
    assert world.says() == f"{ran} InternalError"
    world.settle().wait(11)
    undisturbed.settle().wait(11)
    assert {kind: world.says(kind) for kind in KINDS} == {kind: undisturbed.says(kind) for kind in KINDS}
    assert world.names() == undisturbed.names()


def test_a_driver_that_trained_is_not_held_to_have_made_no_step() -> None:
    world = silent()
    failed_at(world)
    world.wait(500)
    assert world.says() == "True Training"


def test_a_job_that_is_over_or_another_controllers_is_told_nothing() -> None:
    over = failing().finish_deletions().settle().finish_deletions().settle()
    assert over.says("Failed") == "True ModelError"
    assert status_after_internal_error(over.job, over.now, "…") is None
    others = a_training_job(managedBy="kueue.x-k8s.io/multikueue").build()
    assert status_after_internal_error(others, over.now, "…") is None


def test_it_is_announced_once() -> None:
    world = training()
    before = world.job.status
    first = status_after_internal_error(world.job, world.now, "again at noon")
    assert first is not None
    assert [event.reason for event in events_between(before, first)] == ["InternalError"]
    again = status_after_internal_error(replace(world.job, status=first), world.now, "again at one")
    assert again is not None
    assert events_between(first, again) == ()


def failed_at(world: World) -> None:
    status = status_after_internal_error(world.job, world.now, "the operator failed")
    assert status is not None
    world.job = replace(world.job, status=status)
