"""One label, several labels and numbers: one digest and one set of evaluations for every W, loss and resumption."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.receipts import read_receipt
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.training_result import read_training_result
from support.datasets.task_datasets import LOSSES, a_task_dataset
from support.gloo.worker_counts import Groups, trainers, worker_groups
from support.runs.small_run import a_manifest, folder_of, train_run

pytestmark = pytest.mark.slow
STEPS_OF_FIRST_ATTEMPT = 5
FLIP = {"type": "HorizontalFlip"}
RESIZE = {"type": "Resize", "resize": {"size": 16}}
CASES = {
    f"{task} {loss['type']}": pytest.param(task, loss, marks=() if not number else pytest.mark.exhaustive)
    for task, losses in LOSSES.items()
    for number, loss in enumerate(losses)
}


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with worker_groups() as found:
        yield found


@pytest.mark.parametrize(("task", "loss"), CASES.values(), ids=CASES)
def test_one_digest_for_every_worker_count(
    groups: Groups, tmp_path: Path, task: str, loss: dict[str, Any]
) -> None:
    data = a_task_dataset(tmp_path, task)
    training = {"loss": loss, "augmentation": [RESIZE, FLIP], "modelSelection": "Best"}

    def trained(name: str, trainer: Any) -> dict[str, Any]:
        manifest = a_manifest(data, tmp_path / name, **training)
        if task == "single-label":
            manifest["spec"]["evaluation"]["topK"] = 2
        return result_of(train_run(manifest, trainer))

    ways = trainers(groups, pause_after=STEPS_OF_FIRST_ATTEMPT)
    alone = trained("one", ways["one"])
    assert trained("two", ways["two"]) == alone
    assert trained("three", ways["three"]) == alone
    assert trained("resumed", ways["resumed"]) == alone


def result_of(folder: Path) -> dict[str, Any]:
    """Return receipt digest, weights, ledger chain and metrics of a finished run, and its evaluations."""
    run = folder_of(folder)
    records = {(each.split, each.step): dict(each.document) for each in read_evaluations(run)}
    assert {record.get("task", "single-label") for record in records.values()} <= set(LOSSES)
    outcome = read_training_result(run)
    assert outcome is not None
    return {"outcome": outcome, "records": records, "decided": dict(read_receipt(folder).decided.metrics)}
