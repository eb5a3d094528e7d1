"""Sweeps on one machine, typed by a user: every figure is computed in a fresh store, and never twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.attempt_claims import highest_attempt
from seedbed.runs.checkpoint_store import checkpoint_steps
from support.eventually import LiveProcess, eventually
from support.networks.hanging_network import HANGING
from support.runs.sweep_commands import ASHA, LEARNING_RATES, STEPS, Desk, a_sweep

EPOCHS = 4


def objectives(status: dict[str, Any]) -> list[float]:
    return [float(trial["objective"]) for trial in status["topTrials"]]


def reason(status: dict[str, Any]) -> str:
    return str(status["conditions"][0]["reason"])


def decays(*values: str) -> list[dict[str, Any]]:
    """Return weight decays as the one parameter; with a huge one weights overflow within a few steps."""
    field = "spec.training.optimizer.weightDecay"
    return [{"name": "decay", "fieldPath": field, "searchSpace": {"categorical": {"values": list(values)}}}]


def test_a_sweep_trains_every_trial_once_and_ranks_them(desk: Desk) -> None:
    done = desk.sweep()
    assert done.exit_code == 0, done.stderr
    assert desk.steps() == 4 * EPOCHS * STEPS
    status = done.status
    assert reason(status) == "Trained"
    assert status["trials"] == {
        "total": 4, "running": 0, "succeeded": 4, "pruned": 0, "failed": 0, "reused": 0, "finished": "4/4",
    }  # fmt: skip
    assert objectives(status) == sorted(objectives(status))
    assert status["bestTrial"] == status["topTrials"][0]
    assert {trial["index"] for trial in status["topTrials"]} == {0, 1, 2, 3}
    assert len({trial["parameters"][0]["value"] for trial in desk.sweep_record()["trials"]}) == 4


def test_the_winner_trained_alone_in_a_fresh_store_has_the_same_weights(desk: Desk) -> None:
    best = desk.sweep().status["bestTrial"]
    sweep = a_sweep(desk.data, desk.folder / "alone")["spec"]
    recipe = sweep["trialTemplate"]["spec"]
    recipe["training"]["optimizer"]["learningRate"] = best["parameters"][0]["value"]
    job = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "tiny"},
        "spec": recipe | {"output": sweep["output"]},
    }
    path = desk.folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    alone = desk.type("run", "-f", path, "-o", "json").status
    assert desk.steps("alone") == EPOCHS * STEPS
    assert alone["runID"] == best["runID"]
    assert alone["model"]["weightsDigest"] == best["model"]["weightsDigest"]


def test_a_finished_sweep_returns_at_once(desk: Desk) -> None:
    first = desk.sweep().status
    again = desk.sweep().status
    assert reason(again) == "AlreadyComputed"
    assert again["ledger"] == first["ledger"]
    assert again["topTrials"] == first["topTrials"]
    assert again["trials"] == first["trials"] | {"reused": 4}
    assert {highest_attempt(run) for run in desk.runs()} == {1}


def test_a_sweep_with_more_trials_pays_for_the_new_ones(desk: Desk) -> None:
    desk.sweep()
    before = desk.steps()
    more = desk.sweep(maxTrialCount=6)
    assert more.status["trials"]["reused"] == 4
    assert desk.steps() - before == 2 * EPOCHS * STEPS


def test_poor_trials_end_at_their_rung_and_cost_no_more(desk: Desk) -> None:
    done = desk.sweep(earlyStopping=ASHA)
    trials = desk.sweep_record()["trials"]
    pruned = [trial for trial in trials if trial["state"] == "Pruned"]
    assert pruned, "a test of early stopping needs a trial that is stopped"
    assert done.status["trials"]["pruned"] == len(pruned)
    ends = [trial["rungs"][-1]["epoch"] if trial in pruned else EPOCHS for trial in trials]
    assert desk.steps() == sum(ends) * STEPS
    assert {tuple(rung["epoch"] for rung in trial["rungs"]) for trial in pruned} <= {(1,), (1, 2)}


def test_what_was_computed_before_changes_no_decision(desk: Desk) -> None:
    """Runs that went to their end for another sweep are pruned here all the same, by what they were at the rung."""
    desk.sweep("fresh", earlyStopping=ASHA)
    desk.sweep("known")
    before = desk.steps("known")
    done = desk.sweep("known", earlyStopping=ASHA).status
    assert desk.steps("known") == before
    assert done["trials"]["reused"] == 4
    ledgers = [path.read_bytes() for path in (desk.folder / "known" / "sweeps").glob("*/ledger.json")]
    (fresh,) = (desk.folder / "fresh" / "sweeps").glob("*/ledger.json")
    assert fresh.read_bytes() in ledgers


def test_a_trial_that_fails_by_its_values_is_a_result_with_a_reason(desk: Desk) -> None:
    done = desk.sweep(parameters=decays("0", "1000000"), maxTrialCount=6)
    assert done.exit_code == 0, done.stderr
    failed = [trial for trial in desk.sweep_record()["trials"] if trial["state"] == "Failed"]
    assert 0 < len(failed) < 6
    assert {trial["reason"] for trial in failed} == {"NonFiniteLoss"}
    assert done.status["trials"]["failed"] == len(failed)
    assert done.status["bestTrial"]["parameters"] == [{"name": "decay", "value": "0"}]


def test_a_run_that_failed_is_not_trained_again(desk: Desk) -> None:
    """Its failure is a result: another sweep over the same point looks it up."""
    changes: dict[str, Any] = {"parameters": decays("0", "1000000")}
    desk.sweep(maxTrialCount=6, **changes)
    failed = [run for run in desk.runs() if run.objects.exists("failure.json")]
    assert failed
    attempts, steps = {run.name: highest_attempt(run) for run in desk.runs()}, desk.steps()
    more = desk.sweep(maxTrialCount=7, **changes)
    assert more.exit_code == 0, more.stderr
    assert desk.steps() == steps, "both values were tried before"
    assert {run.name: highest_attempt(run) for run in desk.runs()} == attempts
    desk.sweep("fresh", maxTrialCount=7, **changes)
    digests = {path.read_bytes() for path in (desk.folder / "fresh" / "sweeps").glob("*/ledger.json")}
    assert digests <= {path.read_bytes() for path in (desk.folder / "runs" / "sweeps").glob("*/ledger.json")}


def test_more_failures_than_may_be_end_the_sweep_in_one_line(desk: Desk) -> None:
    for _ in range(2):
        done = desk.sweep(parameters=decays("1000000", "500000"), maxFailedTrialCount=1)
        assert done.exit_code == 2
        assert done.errors[-1].startswith(
            "error: TrialsFailed: spec.maxFailedTrialCount: 2 of 2 trials failed (NonFiniteLoss)"
        )
        assert reason(done.status) == "TrialsFailed"


def test_folds_are_runs_of_their_own_and_the_objective_is_their_mean(desk: Desk) -> None:
    done = desk.sweep(crossValidation={"folds": 3}, maxTrialCount=2)
    assert done.exit_code == 0, done.stderr
    assert len(desk.runs()) == 6
    for trial in desk.sweep_record()["trials"]:
        folds = [float(value) for value in trial["folds"]]
        assert len(set(trial["runIDs"])) == len(folds) == 3
        assert float(trial["objective"]) == pytest.approx(sum(folds) / 3, abs=1e-11)
        assert float(trial["deviation"]) > 0


def test_plain_cross_validation_of_one_recipe_needs_no_parameters(desk: Desk) -> None:
    done = desk.sweep(crossValidation={"folds": 3}, parameters=None, maxTrialCount=1)
    assert done.exit_code == 0, done.stderr
    assert len(desk.runs()) == 3
    assert desk.sweep_record()["trials"][0]["parameters"] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=["told to stop", "killed"])
def test_the_same_command_continues(desk: Desk, number: signal.Signals) -> None:
    """It computes what lies behind the newest checkpoints of the runs that were under way, and no step more."""
    desk.sweep("straight", training={"epochs": 12}, earlyStopping=ASHA)
    manifest = desk.manifest(training={"epochs": 12}, earlyStopping=ASHA)
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(manifest)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ)
    wait_for(desk.folder / "runs" / "runs", process)
    process.send_signal(number)
    process.communicate(timeout=600)
    assert process.returncode in (143, -signal.SIGKILL)
    assert not list((desk.folder / "runs" / "sweeps").glob("*/ledger.json"))
    kept, told = sum(checkpoint_steps(run)[-1] for run in desk.runs() if checkpoint_steps(run)), desk.steps()
    again = desk.sweep(training={"epochs": 12}, earlyStopping=ASHA)
    assert again.exit_code == 0, again.stderr
    assert desk.sweep_record() == desk.sweep_record("straight")
    assert kept > 0
    assert desk.steps() - told == desk.steps("straight") - kept


def wait_for(runs: Path, process: subprocess.Popen[bytes]) -> None:
    """Wait until a second run has a checkpoint."""
    eventually(
        lambda: {path.parents[1] for path in runs.glob("*/checkpoints/*.json")},
        lambda found: len(found) > 1,
        what="checkpoints of two runs",
        seconds=300,
        every=0.005,
        servers=(LiveProcess("the sweep", process),),
    )


def test_two_of_the_same_at_once_share_the_work(desk: Desk) -> None:
    """Both come to the same ledger, and together they compute what one would have."""
    changes: dict[str, Any] = {"training": {"epochs": 8}, "earlyStopping": ASHA}
    desk.sweep("straight", **changes)
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(desk.manifest(**changes))]
    both = [subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ) for _ in range(2)]
    for process in both:
        _, stderr = process.communicate(timeout=900)
        assert process.returncode == 0, stderr
    assert desk.sweep_record() == desk.sweep_record("straight")
    assert desk.steps() == desk.steps("straight")


def test_a_sweep_that_is_told_to_stop_says_so(desk: Desk) -> None:
    manifest = desk.manifest(training={"epochs": 400})
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(manifest), "-o", "json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ)
    runs = desk.folder / "runs" / "runs"
    eventually(
        lambda: list(runs.glob("*/checkpoints/*.json")),
        what="a checkpoint of the first run",
        seconds=300,
        every=0.02,
    )
    process.terminate()
    stdout, stderr = process.communicate(timeout=600)
    assert process.returncode == 143, stderr
    assert reason(json.loads(stdout)) == "Suspended"


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "folds larger than the data": (
        {"crossValidation": {"folds": 20}, "dataset": {"subset": {"fraction": "0.4"}}},
        "InvalidDataset: spec.crossValidation.folds: fold",
    ),
    "a batch larger than the data": (
        {"training": {"batch": {"globalSize": 64, "microSize": 4}}},
        "InvalidSpec: spec.trialTemplate.spec.training.batch.globalSize: a global batch is larger",
    ),
    "no such dataset": (
        {"dataset": {"uri": "/nowhere"}},
        "InvalidDataset: spec.trialTemplate.spec.dataset.uri: ",
    ),
    "an output that is no store": (
        {"output": {"uri": "sx://runs"}},
        "spec.output.uri: ",
    ),
    "bounds reversed": (
        {"parameters": [LEARNING_RATES | {"searchSpace": {"uniform": {"min": "1", "max": "0.1"}}}]},
        "InvalidSpec: ",
    ),
}


@pytest.mark.parametrize(("changes", "line"), REFUSALS.values(), ids=REFUSALS)
def test_bad_input_is_refused_in_one_line_before_anything_is_written(
    desk: Desk, changes: dict[str, Any], line: str
) -> None:
    refused = desk.sweep(**changes)
    assert refused.exit_code == 2
    assert len(refused.errors) == 1, refused.stderr
    assert line in refused.errors[0]
    assert not (desk.folder / "runs").exists()
    assert refused.status["conditions"][0]["type"] == "Failed"


def test_workers_are_not_for_sweeps(desk: Desk) -> None:
    refused = desk.type("run", "-f", desk.manifest(), "--workers", "2")
    assert refused.exit_code == 2
    assert refused.errors == [
        "error: InvalidSpec: --workers: a sweep has trials instead (got '2'); "
        "write --set spec.parallelTrialCount=N, or --set spec.workersPerTrial=N"
    ]


WIDTHS = {"name": "width", "modelArg": "width", "searchSpace": {"categorical": {"values": ["3", "4"]}}}
SEARCHES: dict[str, dict[str, Any]] = {
    "a grid": {
        "algorithm": {"type": "Grid"},
        "parameters": [
            {
                "name": "warmup",
                "fieldPath": "spec.training.learningRateSchedule.warmupSteps",
                "searchSpace": {"int": {"min": 0, "max": 1}},
            },
            WIDTHS,
        ],
    },
    "sobol": {"algorithm": {"type": "Sobol", "seed": 2}, "parameters": [LEARNING_RATES, WIDTHS]},
    "tpe": {"algorithm": {"type": "TPE", "seed": 2, "tpe": {"generationSize": 2}}},
    "the median": {"earlyStopping": {"type": "Median", "median": {"minEpochs": 1, "minTrials": 2}}},
}


@pytest.mark.parametrize("changes", SEARCHES.values(), ids=SEARCHES)
def test_every_way_to_search_runs_and_is_found_again(desk: Desk, changes: dict[str, Any]) -> None:
    done = desk.sweep(training={"epochs": 2}, **changes)
    assert done.exit_code == 0, done.stderr
    assert done.status["trials"]["total"] == 4
    assert len({json.dumps(trial["parameters"]) for trial in desk.sweep_record()["trials"]}) == 4
    before = desk.steps()
    assert reason(desk.sweep(training={"epochs": 2}, **changes).status) == "AlreadyComputed"
    assert desk.steps() == before


def test_longer_trials_at_a_constant_rate_begin_where_shorter_ones_ended(desk: Desk) -> None:
    desk.sweep(training={"epochs": 2})
    before = desk.steps()
    longer = desk.sweep(training={"epochs": 4})
    assert longer.exit_code == 0, longer.stderr
    assert desk.steps() - before == 4 * 2 * STEPS
    alone = desk.sweep("alone", training={"epochs": 4})
    assert alone.status["ledger"]["digest"] == longer.status["ledger"]["digest"]


def test_a_sweep_leaves_a_page_beside_its_ledger(desk: Desk) -> None:
    """It is written again where it is missing, and links to run folders that are there."""
    done = desk.type("run", "-f", desk.manifest(earlyStopping=ASHA))
    assert done.exit_code == 0, done.stderr
    (page,) = (desk.folder / "runs" / "sweeps").glob("*/report.html")
    assert f"report          {page}" in done.stderr.replace("file://", "")
    html = page.read_text(encoding="utf-8")
    for words in (
        "Parallel coordinates",
        "Learning curves",
        "Rungs",
        "Ended early",
        desk.sweep_record()["end"]["reason"],
    ):
        assert words in html
    linked = set(re.findall(r'href="(\.\./\.\./runs/[0-9a-f]+/)"', html))
    assert len(linked) == 4
    assert all((page.parent / link).is_dir() for link in linked)
    page.unlink()
    again = desk.type("run", "-f", desk.manifest(earlyStopping=ASHA))
    assert again.exit_code == 0, again.stderr
    assert "Parallel coordinates" in page.read_text(encoding="utf-8")


def test_a_run_that_hangs_ends_the_process_and_the_same_command_goes_on(desk: Desk) -> None:
    marker, code = desk.folder / "hung", desk.folder / "code"
    code.mkdir()
    (code / "hanging.py").write_text(HANGING.format(marker=str(marker)))
    manifest = desk.manifest(
        model={"entrypoint": "hanging:Sometimes"}, maxTrialCount=2, progressDeadlineSeconds=10
    )
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(manifest), "--code", str(code)]
    first = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert first.returncode == 75, first.stderr
    assert marker.exists()
    assert "ProgressDeadlineExceeded: no step came for spec.progressDeadlineSeconds (10 s)" in first.stderr
    again = 75
    for _ in range(10):  # on a machine that stands still a step may take as long
        again = subprocess.run(command, capture_output=True, timeout=600, check=False).returncode
        if again != 75:
            break
    assert again == 0
    assert len(desk.sweep_record()["trials"]) == 2
