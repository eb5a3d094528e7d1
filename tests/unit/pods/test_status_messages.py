"""What the driver tells: its outcome and its live progress, from whatever it knows by then."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from seedbed.driver.driver_state import DriverState
from seedbed.driver.run_driver import DriverExit
from seedbed.driver.trainingjob_status_builder import build_status
from seedbed.pods.status_messages import live_progress, outcome_of
from seedbed.pods.termination_message import on_driver_exit, outcome_of_signal, write_termination_message
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from seedbed_api.pod_contract.driver_messages import Outcome, parse_outcome
from unit.pods.driver_states import KEPT, NOW, TRAINING, UID, a_driver_state


def an_end(state: DriverState, exit_code: int, error: SeedbedError | None = None) -> DriverExit:
    state.started, state.attempt = NOW, 1
    status = build_status(state, now=NOW, failure=error, stopped=exit_code == 143)
    return DriverExit(exit_code=exit_code, status=status, error=error, state=state)


def test_before_anything_is_known() -> None:
    told = live_progress(a_driver_state(), job_uid=UID, attempt=2, now=NOW)
    assert (told.activity, told.job_uid, told.attempt) == ("Starting", UID, 2)
    assert told.time == "2026-05-04T12:00:00Z"
    assert told.workers is not None
    assert (told.workers.ready, told.workers.desired) == (2, 2), "three are there, two are wanted"
    assert (told.progress, told.checkpoint, told.run_id, told.metrics) == (None, None, None, ())


def test_while_it_trains() -> None:
    told = live_progress(a_driver_state(progress=TRAINING, checkpoint=KEPT), job_uid=UID, attempt=1, now=NOW)
    assert told.activity == "Training"
    assert told.progress is not None
    assert (told.progress.epoch, told.progress.step, told.progress.percent) == (1, 25, 25)
    assert told.progress.estimated_completion_time == "2026-05-04T12:01:30Z"
    assert told.checkpoint is not None
    assert (told.checkpoint.step, told.checkpoint.time) == (20, "2026-05-04T11:59:00Z")
    assert {metric.name: metric.value for metric in told.metrics} == {
        "throughput/images-per-second": "123",
        "training/loss": "0.5",
        "validation/accuracy": "0.875",
        "validation/loss": "0.75",
    }


@pytest.mark.parametrize(
    ("phase", "activity"),
    [
        ("Starting", "Starting"),
        ("Evaluating", "Evaluating"),
        ("Checkpointing", "Checkpointing"),
        ("Finishing", "Finishing"),
        ("Stopped", "Finishing"),
        ("Done", "Finishing"),
    ],
)
def test_activities(phase: Any, activity: str) -> None:
    state = a_driver_state(progress=replace(TRAINING, phase=phase))
    assert live_progress(state, job_uid=UID, attempt=1, now=NOW).activity == activity


def test_a_loss_that_is_no_number_is_left_out() -> None:
    unknown = replace(
        TRAINING, loss=float("nan"), accuracy=None, validation_loss=None, images_per_second=None
    )
    assert live_progress(a_driver_state(progress=unknown), job_uid=UID, attempt=1, now=NOW).metrics == ()


@pytest.mark.parametrize(
    ("code", "error", "result", "reason"),
    [
        pytest.param(143, None, "Stopped", "Stopped", id="told to stop"),
        pytest.param(2, UserError("DatasetChanged", "m"), "Failed", "DatasetChanged", id="the user's fault"),
        pytest.param(75, InfrastructureError("WorkersLost", "m"), "Failed", "WorkersLost", id="trouble"),
        pytest.param(0, None, "Succeeded", "AlreadyComputed", id="found"),
    ],
)
def test_outcomes(code: int, error: SeedbedError | None, result: str, reason: str) -> None:
    state = a_driver_state(progress=TRAINING, checkpoint=KEPT, steps_by_group={1: 10, 2: 15})
    outcome = outcome_of(an_end(state, code, error), attempt=3)
    assert (outcome.result, outcome.reason, outcome.attempt) == (result, reason, 3)
    assert outcome.steps_executed == 25
    assert outcome.checkpoint is not None
    assert outcome.checkpoint.step == 20
    assert outcome.message == ("m" if error else "")
    assert parse_outcome(outcome.encode()) == outcome


def test_a_trained_run_says_so() -> None:
    state = a_driver_state(progress=TRAINING, computed_here=True)
    assert outcome_of(an_end(state, 0), attempt=1).reason == "Trained"


def test_a_driver_that_was_killed_leaves_a_message_unless_it_left_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    message = tmp_path / "termination-log"
    message.touch()
    monkeypatch.setenv("SEEDBED_TERMINATION_LOG", str(message))
    monkeypatch.setenv("SEEDBED_ATTEMPT", "4")
    on_driver_exit(signal.SIGSEGV, tmp_path / "spool")
    outcome = parse_outcome(message.read_bytes())
    assert outcome == outcome_of_signal(signal.SIGSEGV, attempt="4")
    assert (outcome.reason, outcome.message) == ("DriverCrashed", "the driver was ended by SIGSEGV")
    own = Outcome(result="Succeeded", reason="Trained", attempt=4)
    write_termination_message(os.environ, own)
    on_driver_exit(signal.SIGSEGV, tmp_path / "spool")
    assert parse_outcome(message.read_bytes()) == own
    assert "the end of the log is not uploaded" in caplog.text
