"""A driver that does not answer: while it starts nothing is wrong with that, later the network may be."""

from __future__ import annotations

from dataclasses import replace

from support.operator.builders import live
from support.operator.simulated_cluster import a_world

DRIVER, WORKER = "seedlings-1-driver", "seedlings-1-worker-0"


def test_a_driver_that_does_not_answer_at_its_start_is_told_of_only_when_that_lasts() -> None:
    world = a_world().settle().start(WORKER).start(DRIVER)
    for second in range(0, 55, 5):
        world.settle()
        assert "Ray starts" in world.message(), second
        world.wait(5)
    world.say(DRIVER, live(None, "Starting")).wait(10)
    assert "the workers load data and model" in world.message()


def test_a_driver_is_asked_again_as_soon_as_it_is_ready() -> None:
    world = a_world().settle().start()
    world.pods[DRIVER] = replace(world.pods[DRIVER], ready=False)
    world.settle().wait(40)
    world.answers[DRIVER] = live(None, "Starting")
    world.pods[DRIVER] = replace(world.pods[DRIVER], ready=True, ready_since=world.now)
    world.settle()
    assert "the workers load data and model" in world.message()


def test_the_silence_of_a_driver_counts_from_when_it_is_ready() -> None:
    world = a_world().settle().start()
    world.pods[DRIVER] = replace(world.pods[DRIVER], ready=False)
    world.settle().wait(300)
    world.pods[DRIVER] = replace(world.pods[DRIVER], ready=True, ready_since=world.now)
    world.settle().wait(20)
    assert "Ray starts" in world.message()
    world.wait(120)
    assert "in the NetworkPolicies" in world.message()
