"""Rows of `seedbed top`: from what a status says, to what a person reads; nothing that is not known is made up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from seedbed.cli.top_rows import Row, in_order, row_of_object

NOW = datetime(2030, 1, 2, 12, 0, 0, tzinfo=UTC)


def an_object(kind: str = "TrainingJob", **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"namespace": "team", "name": "digits"}, "status": status}


def running(status: str, reason: str, message: str = "") -> dict[str, str]:
    since = "2030-01-02T11:00:00Z"
    return {
        "type": "Running",
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": since,
    }


PROGRESS = {"step": 30, "totalSteps": 60, "percent": 50, "estimatedCompletionTime": "2030-01-02T12:01:30Z"}
TRAINING = {
    "conditions": [running("True", "Training", "attempt 1 trains")],
    "progress": PROGRESS,
    "workers": {"ready": 1, "desired": 2},
    "metrics": [
        {"name": "throughput/images-per-second", "value": "1234.5"},
        {"name": "validation/accuracy", "value": "0.9"},
    ],
}
AS_TRAINING = Row(
    kind="TrainingJob",
    name="team/digits",
    status="Training",
    progress="30/60 (50 %)",
    rate="1,234 images/s",
    left="1:30",
    workers="1/2",
    result="0.9",
    message="attempt 1 trains",
)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(
            an_object(observedGeneration=-1),
            Row(kind="TrainingJob", name="team/digits", status="Pending"),
            id="a job that nobody has looked at",
        ),
        pytest.param(an_object(**TRAINING), AS_TRAINING, id="a job that trains"),
        pytest.param(
            an_object(
                **TRAINING | {"progress": {**PROGRESS, "estimatedCompletionTime": "2030-01-02T11:00:00Z"}}
            ),
            replace(AS_TRAINING, left="0:00"),
            id="a job that is late",
        ),
        pytest.param(
            an_object(
                **TRAINING
                | {"conditions": [running("False", "Trained"), {"type": "Complete", "status": "True"}]}
            ),
            Row(
                kind="TrainingJob",
                name="team/digits",
                status="Trained",
                progress="30/60 (50 %)",
                result="0.9",
                over=True,
            ),
            id="a job that is over",
        ),
        pytest.param(
            an_object(**TRAINING | {"conditions": [running("False", "BackingOff", "a worker was lost")]}),
            replace(AS_TRAINING, status="BackingOff", rate="", left="", message="a worker was lost"),
            id="a job that trained and waits for its next attempt",
        ),
        pytest.param(
            an_object(
                "SweepJob",
                conditions=[running("False", "Unschedulable", "no node has a GPU")],
                trials={"total": 8, "finished": "7/12"},
                bestTrial={"index": 3, "objective": "0.98"},
            ),
            Row(
                kind="SweepJob",
                name="team/digits",
                status="Unschedulable",
                progress="7/12 trials",
                result="0.98",
                message="no node has a GPU",
            ),
            id="a sweep that waits",
        ),
    ],
)
def test_a_row_says_what_the_status_says(raw: dict[str, Any], expected: Row) -> None:
    assert row_of_object(raw, now=NOW) == expected


@pytest.mark.parametrize(
    ("trials", "attempts", "rate", "left"),
    [
        pytest.param({"finished": "4/12", "running": 4}, 1, "4 trials/h", "2:00:00", id="four in an hour"),
        pytest.param({"finished": "5/9", "reused": 4}, 1, "1 trials/h", "4:00:00", id="four were looked up"),
        pytest.param({"finished": "3/12", "running": 4}, 1, "", "", id="the first four are not all over"),
        pytest.param({"finished": "0/12"}, 1, "", "", id="none is over"),
        pytest.param({"total": 3}, 1, "", "", id="nobody knows how many there will be"),
        pytest.param({"finished": "6/12", "running": 4}, 2, "", "", id="an attempt that found those before"),
    ],
)
def test_a_sweep_has_the_pace_of_the_trials_that_it_trained(
    trials: dict[str, Any], attempts: int, rate: str, left: str
) -> None:
    status = {"conditions": [running("True", "Training")], "trials": trials, "attempts": attempts}
    row = row_of_object(an_object("SweepJob", **status), now=NOW)
    assert (row.rate, row.left) == (rate, left)


def test_what_is_under_way_comes_first() -> None:
    rows = [
        Row(kind="TrainingJob", name="b/x", status="Trained", over=True),
        Row(kind="TrainingJob", name="z/x", status="Training"),
        Row(kind="SweepJob", name="a/x", status="Queued"),
    ]
    assert [row.name for row in in_order(rows)] == ["a/x", "z/x", "b/x"]
