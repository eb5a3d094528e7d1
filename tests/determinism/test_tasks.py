"""One label, several labels and numbers: one digest and one set of evaluations for every W, loss and resumption."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.receipts import read_receipt
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.training_result import read_training_result
from seedbed.training.worker_config import WorkerConfig
from support.datasets.task_datasets import LOSSES, a_task_dataset
from support.gloo.worker_group import WorkerGroup, worker_group
from support.runs.small_run import a_manifest, as_worker, folder_of, train_run

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
def groups() -> Iterator[dict[int, WorkerGroup]]:
    with worker_group(1) as one, worker_group(2) as two, worker_group(3) as three:
        yield {1: one, 2: two, 3: three}


@pytest.mark.parametrize(("task", "loss"), CASES.values(), ids=CASES)
def test_one_digest_for_every_worker_count(
    groups: dict[int, WorkerGroup], tmp_path: Path, task: str, loss: dict[str, Any]
) -> None:
    data = a_task_dataset(tmp_path, task)
    training = {"loss": loss, "augmentation": [RESIZE, FLIP], "modelSelection": "Best"}

    def trained(name: str, trainer: Any) -> dict[str, Any]:
        manifest = a_manifest(data, tmp_path / name, **training)
        if task == "single-label":
            manifest["spec"]["evaluation"]["topK"] = 2
        return result_of(train_run(manifest, trainer))

    def with_workers(world: int) -> Any:
        return lambda program: groups[world].run(as_worker, program)

    def resumed(program: WorkerConfig) -> None:
        groups[3].run(as_worker, dataclasses.replace(program, pause_after=STEPS_OF_FIRST_ATTEMPT))
        groups[2].run(as_worker, dataclasses.replace(program, attempt=2))

    alone = trained("one", with_workers(1))
    assert trained("two", with_workers(2)) == alone
    assert trained("three", with_workers(3)) == alone
    assert trained("resumed", resumed) == alone


def result_of(folder: Path) -> dict[str, Any]:
    """Return receipt digest, weights, ledger chain and metrics of a finished run, and its evaluations."""
    run = folder_of(folder)
    records = {(each.split, each.step): dict(each.document) for each in read_evaluations(run)}
    assert {record.get("task", "single-label") for record in records.values()} <= set(LOSSES)
    outcome = read_training_result(run)
    assert outcome is not None
    return {"outcome": outcome, "records": records, "decided": dict(read_receipt(folder).decided.metrics)}
