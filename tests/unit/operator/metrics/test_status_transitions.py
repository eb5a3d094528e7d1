"""What is counted between two statuses: ends of attempts by cause and known reason, and how long a job waited.

Tables of two statuses, and stories in a small cluster whose statuses are those that planning writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from seedbed_api.conditions import Condition
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import Failure, TrainingJobStatus
from seedbed_operator.metrics.status_transitions import AttemptEnded, StageReached, Transition, transitions
from support.operator.builders import (
    NOON,
    JobBuilder,
    a_sweep_job,
    a_sweeps_word,
    a_training_job,
    after,
    live,
    progress,
    trials,
)
from support.operator.simulated_cluster import World


def a_condition(kind: str, status: str = "True", reason: str = "Training", at: float = 0) -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "reason": reason, "lastTransitionTime": format_time(after(at))}
    )


RUNS = (a_condition("Running"),)
WAITS = (a_condition("Running", "False", "Queued"),)
RESUMED = a_condition("Suspended", "False", "Resumed", at=100)


def failed(reason: str, attempt: int = 1, **counts: Any) -> TrainingJobStatus:
    failure = Failure(attempt=attempt, reason=reason)
    return TrainingJobStatus(
        attempts=attempt, accounted_attempts=attempt, last_failure=failure, conditions=WAITS, **counts
    )


FIRST = TrainingJobStatus(attempts=1, conditions=WAITS)
STORIES = {
    "nothing happened": (FIRST, FIRST, []),
    "it trains for the first time": (
        FIRST,
        TrainingJobStatus(attempts=1, conditions=RUNS),
        [StageReached(stage="Running", seconds=160)],
    ),
    "it was resumed and trains": (
        FIRST,
        TrainingJobStatus(attempts=1, conditions=(*RUNS, RESUMED)),
        [StageReached(stage="Running", seconds=60)],
    ),
    "its first step is heard of together with its start": (
        FIRST,
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(3)),
        [StageReached(stage="Running", seconds=160), StageReached(stage="FirstStep", seconds=160)],
    ),
    "later steps are no first step": (
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(3)),
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(4)),
        [],
    ),
    "a second attempt is the first that trains": (
        FIRST,
        TrainingJobStatus(attempts=2, conditions=RUNS),
        [StageReached(stage="Running", seconds=160)],
    ),
    "it was preempted": (
        FIRST,
        failed("Preempted", preemptions=1),
        [AttemptEnded(cause="Preemption", reason="Preempted")],
    ),
    "preempted without a checkpoint for the third time, which counts as a failure too": (
        failed("Preempted", 2, preemptions=2),
        failed("Preempted", 3, preemptions=3, failures=1),
        [AttemptEnded(cause="Preemption", reason="Preempted")],
    ),
    "the store was away": (
        FIRST,
        failed("StorageUnavailable", infrastructure_failures=1),
        [AttemptEnded(cause="Infrastructure", reason="StorageUnavailable")],
    ),
    "a driver says a word of its own": (
        FIRST,
        failed("SomethingOfMine", failures=1),
        [AttemptEnded(cause="Failure", reason="Other")],
    ),
    "the user's fault": (
        FIRST,
        failed("NonFiniteLoss"),
        [AttemptEnded(cause="User", reason="NonFiniteLoss")],
    ),
    "told to stop": (
        FIRST,
        TrainingJobStatus(attempts=1, accounted_attempts=1, conditions=WAITS),
        [AttemptEnded(cause="Stopped", reason="Stopped")],
    ),
    "the end of a run whose first attempt had failed": (
        failed("Preempted", 1, preemptions=1),
        TrainingJobStatus(
            attempts=2,
            accounted_attempts=2,
            preemptions=1,
            last_failure=Failure(attempt=1, reason="Preempted"),
            conditions=(a_condition("Complete", "False", "Trained"), *WAITS),
        ),
        [AttemptEnded(cause="Done", reason="Trained")],
    ),
}


@pytest.mark.parametrize(("before", "status", "expected"), STORIES.values(), ids=STORIES)
def test_turns(before: TrainingJobStatus, status: TrainingJobStatus, expected: list[Transition]) -> None:
    assert list(transitions(NOON, before, status, after(160))) == expected


@dataclass
class Counted(World):
    """A cluster in which the turns of the job are counted."""

    transitions: list[Transition] = field(default_factory=list)

    def act(self) -> bool:
        before = self.job.status
        acted = super().act()
        self.transitions += transitions(self.job.created, before, self.job.status, self.now)
        return acted

    def waits(self) -> list[Transition]:
        return [turn for turn in self.transitions if isinstance(turn, StageReached)]

    def ends(self) -> list[Transition]:
        return [turn for turn in self.transitions if isinstance(turn, AttemptEnded)]

    def trains(self, attempt: int, step: int) -> World:
        """Let an attempt come to where it has made a step."""
        self.settle().start().settle()
        return self.say(f"seedlings-{attempt}-driver", live(step)).settle()


def counted(job: JobBuilder) -> Counted:
    return Counted(job=job.build())


def both(seconds: float) -> list[Transition]:
    return [
        StageReached(stage="Running", seconds=seconds),
        StageReached(stage="FirstStep", seconds=seconds),
    ]


def given_back(world: Counted) -> list[Transition]:
    """One of two workers finds no node: the attempt gives back what it holds, and the next one trains."""
    world.settle()
    world.start("seedlings-1-driver", "seedlings-1-worker-0")
    world.unschedulable("seedlings-1-worker-1", "0/1 nodes are available: 1 Insufficient nvidia.com/gpu.")
    world.wait(60).finish_deletions().wait(40)
    assert world.ends() == [AttemptEnded(cause="GivenBack", reason="Unschedulable")]
    world.trains(2, 1)
    return both(100)


def crashed_before_a_step(world: Counted) -> list[Transition]:
    """The first attempt crashes while it starts."""
    world.settle().start().settle().wait(30)
    world.end("seedlings-1-driver", 1).settle().finish_deletions().wait(20)
    world.trains(2, 1)
    return both(50)


def preempted_while_it_trained(world: Counted) -> list[Transition]:
    """What comes after its first step is no wait for it."""
    world.trains(1, 3).wait(10)
    world.end("seedlings-1-driver", 75).settle().finish_deletions().wait(60)
    world.trains(2, 4)
    return both(0)


def suspended_and_resumed(world: Counted) -> list[Transition]:
    """It trains, is suspended for an hour, resumed, and waits for half a minute: a second wait."""
    world.trains(1, 3).wait(10)
    world.edit(suspend=True).settle().finish_deletions().settle().wait(3600)
    world.edit(suspend=False).settle().wait(30)
    world.trains(2, 4)
    return [*both(0), *both(30)]


WAITS = {
    function.__name__.replace("_", " "): function
    for function in (given_back, crashed_before_a_step, preempted_while_it_trained, suspended_and_resumed)
}


@pytest.mark.parametrize("story", WAITS.values(), ids=WAITS)
def test_a_job_waits_until_it_trains_however_many_attempts_that_takes(
    story: Callable[[Counted], list[Transition]],
) -> None:
    world = counted(a_training_job().with_workers(2, 2))
    expected = story(world)
    assert world.waits() == expected


def test_a_sweep_makes_its_first_step_when_it_keeps_something() -> None:
    world = counted(a_sweep_job())
    world.settle().start().settle()
    (driver,) = (name for name, pod in world.pods.items() if pod.role == "driver")
    world.say(driver, a_sweeps_word(0)).settle().wait(20)
    kept = trials(1, kept_time=format_time(after(20)))
    world.say(driver, a_sweeps_word(1).model_copy(update={"sweep": kept})).settle()
    assert world.waits() == [
        StageReached(stage="Running", seconds=0),
        StageReached(stage="FirstStep", seconds=20),
    ]
