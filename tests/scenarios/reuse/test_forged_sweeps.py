"""A sweep believes its record, its trials' failures and its evaluations only where owner or runs confirm them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from seedbed_api.canonical_json import canonical_json
from support.runs.command_line import Typed
from support.runs.forged_objects import reseal, rewrite
from support.runs.sweep_commands import Desk

STORE = ("--set", "spec.output.trust=Store")


def sweep(desk: Desk, *words: str) -> Typed:
    return desk.type("run", "-f", desk.manifest(maxTrialCount=2), "-o", "json", *words)


def best(answer: Typed) -> dict[str, Any]:
    assert answer.exit_code == 0, answer.stderr
    return dict(answer.status["bestTrial"])


def worse_first(desk: Desk) -> None:
    """Exchange the objectives of the two trials in the record, which stays valid in itself."""
    (file,) = (desk.folder / "runs/sweeps").glob("*/ledger.json")
    record = json.loads(file.read_bytes())
    first, second = record["trials"]
    for name in ("objective", "folds", "rungs", "deviation"):
        first[name], second[name] = second.get(name), first.get(name)
    for trial in record["trials"]:
        for name in [name for name, value in trial.items() if value is None]:
            del trial[name]
    rewrite(file, canonical_json(record))


@pytest.mark.parametrize(
    ("words", "says"),
    [(STORE, "trial 0: a run has another objective"), ((), "no owner record of yours vouches for it")],
    ids=["Store", "Own"],
)
def test_record_with_other_objectives_is_not_the_end_of_a_sweep(
    desk: Desk, caplog: pytest.LogCaptureFixture, words: tuple[str, ...], says: str
) -> None:
    first = sweep(desk, *words)
    before = desk.sweep_record()
    worse_first(desk)
    steps = desk.steps()
    answer = sweep(desk, *words)
    assert says in caplog.text
    assert best(answer) == best(first)
    assert desk.sweep_record() == before
    assert desk.steps() == steps, "the runs are there: nothing is trained"


def runs_of(desk: Desk) -> list[Path]:
    return sorted((desk.folder / "runs/runs").iterdir())


def test_forged_failure_fails_no_trial(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    first = sweep(desk)
    (record,) = (desk.folder / "runs/sweeps").glob("*/ledger.json")
    record.unlink()
    for run in runs_of(desk):
        document = {
            "reason": "NonFiniteLoss",
            "problem": "NonFiniteLoss: inf",
            "samples": 24,
            "evaluations": "",
        }
        rewrite(run / "failure.json", canonical_json(document))
    steps = desk.steps()
    answer = sweep(desk)
    assert best(answer) == best(first)
    assert "failure.json is not used" in caplog.text
    assert desk.steps() == steps


def test_forged_evaluation_gives_no_trial_another_objective(desk: Desk) -> None:
    first = sweep(desk, *STORE)
    (record,) = (desk.folder / "runs/sweeps").glob("*/ledger.json")
    before = record.read_bytes()
    record.unlink()
    for run in runs_of(desk):
        for file in (run / "evaluations").glob("validation-*.json"):
            reseal(file, lambda evaluation: evaluation["document"].update(correct=0, loss=1 << 40))
    answer = sweep(desk, *STORE)
    assert best(answer) == best(first)
    assert record.read_bytes() == before
