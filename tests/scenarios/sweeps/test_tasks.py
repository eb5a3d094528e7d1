"""Sweeps over datasets of every task: any metric of the task ranks the trials, exactly as it was counted."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.evaluation_records import read_evaluations
from seedbed.search.objective_values import format_objective, to_units
from seedbed_api.metric_values import metric_value
from support.datasets.task_datasets import a_task_dataset
from support.runs.sweep_commands import ASHA, Desk

EPOCHS, TRIALS = 2, 3
CASES: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "the average precision of several labels": (
        "multi-label",
        {"training": {"loss": {"type": "BinaryCrossEntropy"}}},
        "average-precision",
        "Maximize",
    ),
    "the F1 of several labels, with pruning": (
        "multi-label",
        {"training": {"loss": {"type": "Focal", "focal": {"gamma": "1.5"}}}, "earlyStopping": ASHA},
        "f1-macro",
        "Maximize",
    ),
    "the error of numbers": ("regression", {"training": {"loss": {"type": "Huber"}}}, "rmse", "Minimize"),
    "R² of numbers": ("regression", {"training": {"loss": {"type": "MeanSquaredError"}}}, "r2", "Maximize"),
    "the top 2 of one label": (
        "single-label",
        {"training": {}, "evaluation": {"everyEpochs": 1, "topK": 2}},
        "top-k-accuracy",
        "Maximize",
    ),
}


@pytest.fixture(scope="module")
def task_data(tmp_path_factory: pytest.TempPathFactory, small_data: Path) -> dict[str, Path]:
    tasks = ("multi-label", "regression")
    built = {task: a_task_dataset(tmp_path_factory.mktemp("tasks") / task, task, rows=40) for task in tasks}
    return built | {"single-label": small_data}


@pytest.mark.parametrize(("task", "changes", "metric", "direction"), CASES.values(), ids=CASES)
def test_a_metric_of_the_task_ranks_the_trials(
    desk: Desk,
    task_data: dict[str, Path],
    task: str,
    changes: dict[str, Any],
    metric: str,
    direction: str,
) -> None:
    desk.data = task_data[task]
    training = changes["training"] | {"epochs": EPOCHS}
    done = desk.sweep(
        **changes
        | {
            "training": training,
            "objective": {"metric": f"validation/{metric}", "direction": direction},
            "maxTrialCount": TRIALS,
        }
    )
    assert done.exit_code == 0, done.stderr
    ranked = done.status["topTrials"]
    values = [Fraction(trial["objective"]) for trial in ranked]
    assert values == sorted(values, reverse=direction == "Maximize")
    assert done.status["bestTrial"] == ranked[0]
    counted = {run.run_id: objective_of_newest(run, metric) for run in desk.runs()}
    finished = [trial for trial in ranked if trial.get("runID")]
    assert finished
    assert {trial["runID"]: trial["objective"] for trial in finished}.items() <= counted.items()
    (report,) = (desk.folder / "runs" / "sweeps").glob("*/report.html")
    assert metric in report.read_text(encoding="utf-8")


def objective_of_newest(run: Any, metric: str) -> str:
    newest = max(read_evaluations(run, split="validation"), key=lambda record: record.step)
    return format_objective(to_units(metric_value(newest.document, metric)))
