"""What is counted between two statuses: ends of attempts by cause and known reason, and how long a job waited."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed_api.conditions import Condition
from seedbed_api.status import Failure, TrainingJobStatus
from seedbed_api.times import written
from seedbed_operator.metrics.turns import AttemptEnded, Reached, Turn, turns
from unit.operator.planning.builders import NOON, after, progress


def a_condition(kind: str, status: str = "True", reason: str = "Training", at: float = 0) -> Condition:
    return Condition.model_validate(
        {"type": kind, "status": status, "reason": reason, "lastTransitionTime": written(after(at))}
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
        [Reached(station="Running", seconds=160)],
    ),
    "it was resumed and trains": (
        FIRST,
        TrainingJobStatus(attempts=1, conditions=(*RUNS, RESUMED)),
        [Reached(station="Running", seconds=60)],
    ),
    "its first step is heard of together with its start": (
        FIRST,
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(3)),
        [Reached(station="Running", seconds=160), Reached(station="FirstStep", seconds=160)],
    ),
    "later steps are no first step": (
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(3)),
        TrainingJobStatus(attempts=1, conditions=RUNS, progress=progress(4)),
        [],
    ),
    "a second attempt trains": (FIRST, TrainingJobStatus(attempts=2, conditions=RUNS), []),
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
def test_turns(before: TrainingJobStatus, status: TrainingJobStatus, expected: list[Turn]) -> None:
    assert list(turns(NOON, before, status, after(160))) == expected
