"""The driver's last word, the status, and conditions."""

from __future__ import annotations

import ast
import inspect
import json
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from seedbed_api import conditions
from seedbed_api.conditions import (
    AttemptReason,
    CompleteReason,
    Condition,
    ExitCode,
    FailedReason,
    RunningReason,
    one_line,
    with_condition,
)
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.pod_contract.driver_messages import (
    MOST_BYTES,
    LiveProgress,
    Outcome,
    parse_outcome,
    shorten_sweep,
)
from seedbed_api.sweepjob_status import Assignment, SweepProgress, Trial, TrialCounts
from seedbed_api.trainingjob_status import (
    CheckpointStatus,
    Environment,
    Metric,
    ModelStatus,
    ObjectStatus,
    Progress,
    Timing,
    TrainingJobStatus,
    format_measurement,
    percent,
)
from support.manifests.base_manifests import DIGEST

NOON, LATER = "2030-01-02T12:00:00Z", "2030-01-02T13:00:00Z"


def an_outcome(**changes: Any) -> Outcome:
    return Outcome(result="Succeeded", reason=CompleteReason.TRAINED, attempt=0).model_copy(update=changes)


def test_an_outcome_comes_back_from_its_message() -> None:
    outcome = an_outcome(
        message="trained",
        model=ModelStatus(uri="s3://runs/x/model", weights_digest=DIGEST),
        metrics=(Metric(name="test/accuracy", value=format_measurement(0.98765432)),),
        timings=(Timing(name="FirstStep", milliseconds=1500),),
    )
    message = outcome.encode()
    assert parse_outcome(message) == outcome
    assert json.loads(message)["model"] == {"uri": "s3://runs/x/model", "weightsDigest": DIGEST}
    assert json.loads(message)["schemaVersion"] == 1


NO_OUTCOMES = {
    "a traceback": "Traceback (most recent call last):\n  File …",
    "nothing": "",
    "JSON of something else": '{"level": "info"}',
    "another version": '{"schemaVersion": 2, "result": "Succeeded", "reason": "Trained", "attempt": 0}',
    "a cut message": '{"schemaVersion": 1, "result": "Succ',
    "bytes that are no text": b"\xff\xfe",
}


@pytest.mark.parametrize("message", NO_OUTCOMES.values(), ids=NO_OUTCOMES)
def test_what_is_no_outcome_is_log_text(message: str | bytes) -> None:
    assert parse_outcome(message) is None


@settings(deadline=None, max_examples=40)
@given(
    message=st.text(alphabet=st.characters(codec="utf-8"), max_size=1024),
    metrics=st.integers(0, 32),
    timings=st.integers(0, 32),
    wide=st.booleans(),
)
def test_a_message_has_at_most_4000_bytes_and_keeps_the_reason(
    message: str, metrics: int, timings: int, wide: bool
) -> None:
    uri = ("字" if wide else "a") * 1200  # what lies below the longest output.uri
    outcome = an_outcome(
        message=message,
        metrics=tuple(Metric(name=f"metric-{i}/{'m' * 100}", value="1") for i in range(metrics)),
        timings=tuple(Timing(name=f"Timing{i}", milliseconds=2**53 - 1) for i in range(timings)),
        model=ModelStatus(uri=uri, weights_digest=DIGEST),
        receipt=ObjectStatus(uri=uri, digest=DIGEST),
        checkpoint=CheckpointStatus(step=1, digest=DIGEST, time=NOON),
        run_id=DIGEST,
    )
    encoded = outcome.encode()
    assert len(encoded) <= 4000
    parsed = parse_outcome(encoded)
    assert parsed is not None
    assert (parsed.reason, parsed.run_id, parsed.checkpoint) == (outcome.reason, DIGEST, outcome.checkpoint)


def test_details_go_before_the_message() -> None:
    metrics = tuple(Metric(name=f"metric-{i}/{'m' * 110}", value="1") for i in range(32))
    parsed = parse_outcome(an_outcome(message="why", metrics=metrics).encode())
    assert parsed is not None
    assert (parsed.message, parsed.metrics) == ("why", ())


def test_a_status_is_written_under_the_names_of_the_design() -> None:
    status = TrainingJobStatus(
        run_id=DIGEST,
        environment=Environment(class_=DIGEST),
        backend="Local",
        progress=Progress(epoch=0, step=1, total_steps=3, percent=percent(1, 3)),
        conditions=(a_condition("True"),),
    )
    plain = status.plain()
    assert plain["runID"] == DIGEST
    assert plain["environment"] == {"class": DIGEST}
    assert plain["progress"]["totalSteps"] == 3
    assert TrainingJobStatus.model_validate(plain) == status


def a_condition(status: Any, time: str = NOON, reason: str = "Training") -> Condition:
    return Condition(type="Running", status=status, reason=reason, message="m", last_transition_time=time)


def test_the_time_of_a_condition_moves_only_on_flips() -> None:
    first = with_condition((), a_condition("True"))
    again = with_condition(first, a_condition("True", LATER, "Evaluating"))
    flipped = with_condition(again, a_condition("False", LATER, "Preempted"))
    assert [(c.reason, c.last_transition_time) for c in (*first, *again, *flipped)] == [
        ("Training", NOON),
        ("Evaluating", NOON),
        ("Preempted", LATER),
    ]


def test_other_conditions_stay_where_they_are() -> None:
    failed = Condition(type="Failed", status="False", reason="Training", last_transition_time=NOON)
    both = with_condition((failed,), a_condition("True"))
    assert [condition.type for condition in with_condition(both, a_condition("False"))] == [
        "Failed",
        "Running",
    ]


def test_a_long_message_becomes_one_line_that_fits() -> None:
    assert one_line("a\n  b") == "a b"
    assert len(one_line("word " * 1000)) == 1024


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "0.5"), (1 / 3, "0.333333"), (1e-9, "1e-09"), (123456789.0, "1.23457e+08"), (0.0, "0")],
)
def test_a_measured_value_has_six_digits_and_is_accepted(value: float, text: str) -> None:
    assert (
        Metric.model_validate({"name": "validation/loss", "value": format_measurement(value)}).value == text
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_never_reaches_a_status(value: float) -> None:
    with pytest.raises(AssertionError):
        format_measurement(value)


@pytest.mark.parametrize(("step", "shown"), [(0, 0), (1, 0), (999, 99), (1000, 100)])
def test_percent_is_100_only_when_all_is_done(step: int, shown: int) -> None:
    assert percent(step, 1000) == shown


def test_exit_codes_are_those_of_the_errors() -> None:
    assert UserError.exit_code == ExitCode.USER
    assert InfrastructureError.exit_code == ExitCode.INFRASTRUCTURE
    assert {code.value for code in ExitCode} == {0, 2, 75, 143}


REASONS = (CompleteReason, FailedReason, AttemptReason, RunningReason)


def test_every_reason_can_stand_in_a_condition() -> None:
    for reason in chain(*REASONS):
        assert Condition.model_validate(a_condition("True", reason=reason).plain()).reason == reason


def test_every_reason_says_what_it_means() -> None:
    """The sentences below the members are the reference of the API."""
    module = ast.parse(inspect.getsource(conditions))
    bodies = {node.name: node.body for node in module.body if isinstance(node, ast.ClassDef)}
    for words in REASONS:
        pairs = pairwise(bodies[words.__name__])
        told = {ast.unparse(name): meaning for name, meaning in pairs if isinstance(name, ast.Assign)}
        assert len(told) == len(words)
        for name, meaning in told.items():
            assert isinstance(meaning, ast.Expr), name
            assert ast.unparse(meaning).rstrip("'\"").endswith("."), name


def test_what_a_job_waits_for_is_no_end_of_it() -> None:
    """A reason that stands in both enumerations would leave open whether the job may go on."""
    assert {*RunningReason} & {*CompleteReason} == set()
    assert {*RunningReason} & {*FailedReason} == {"SecretNotFound"}


def test_live_progress_is_plain_json() -> None:
    live = LiveProgress(
        time=NOON,
        job_uid="1b4e28ba",
        attempt=1,
        activity="Training",
        metrics=(Metric(name="train/loss", value="1"),),
    )
    assert LiveProgress.model_validate_json(json.dumps(live.plain())) == live


def test_a_word_that_does_not_say_whose_it_is_is_none() -> None:
    """A driver of an earlier version might be any job's: addresses of pods are used again."""
    with pytest.raises(ValidationError, match="jobUid"):
        LiveProgress.model_validate({"time": NOON, "attempt": 1, "activity": "Training"})


def a_row(index: int, parameters: int, length: int) -> Trial:
    values = tuple(Assignment(name=f"p{number}", value="x" * length) for number in range(parameters))
    model = ModelStatus(uri="s3://runs/" + "u" * 60, weights_digest=DIGEST)
    return Trial(index=index, run_id=DIGEST, objective="0.9", parameters=values, model=model)


@pytest.mark.parametrize(
    ("rows", "parameters", "length", "left"),
    [(20, 0, 0, 20), (20, 4, 8, 8), (20, 32, 8, 0), (20, 32, 256, 0), (0, 0, 0, 0)],
    ids=["short rows", "usual rows", "many parameters", "giant values", "no row yet"],
)
def test_of_a_sweep_the_rows_are_the_least_needed(rows: int, parameters: int, length: int, left: int) -> None:
    top = tuple(a_row(index, parameters, length) for index in range(rows))
    ledger = ObjectStatus(uri="s3://runs/sweeps/x/ledger.json", digest=DIGEST)
    counts = TrialCounts(total=99, succeeded=99, finished="99/100")
    told = SweepProgress(trials=counts, best_trial=top[0] if top else None, top_trials=top, ledger=ledger)
    content = an_outcome(message="", sweep=told).encode()
    assert len(content) <= MOST_BYTES
    read = parse_outcome(content)
    assert read is not None
    assert read.sweep is not None
    assert (read.sweep.trials, read.sweep.ledger) == (counts, ledger)
    assert len(read.sweep.top_trials) >= left
    assert [row.index for row in read.sweep.top_trials] == list(range(len(read.sweep.top_trials)))
    assert len(shorten_sweep(told, 24 << 10).model_dump_json(by_alias=True)) <= 24 << 10
    if top and length < 256:
        assert read.sweep.best_trial is not None
        assert read.sweep.best_trial.model == top[0].model, "the winner is what a sweep is for"
