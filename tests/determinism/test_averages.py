"""Moving averages of weights: one digest, one set of evaluations and one model for every W, resumed too."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.training_result import read_training_result
from seedbed.training.worker_config import WorkerConfig
from support.gloo.worker_counts import Groups, trainers, worker_groups
from support.runs.small_run import a_dataset, a_manifest, as_worker, folder_of, objects_of, train_run

pytestmark = pytest.mark.slow
STEPS_OF_FIRST_ATTEMPT = 5
"""Between two evaluations; averaging has begun."""
CASES: dict[str, dict[str, Any]] = {
    "from the first weights": {"ema": {"decay": "0.9"}},
    "after some steps, the best model, in groups": {
        "ema": {"decay": "0.99", "startStep": 3},
        "modelSelection": "Best",
        "freeze": ["conv1.*"],
        "parameterGroups": [{"match": "*.bias", "weightDecay": "0.1"}],
        "gradientClipping": {"maxNorm": "0.5"},
    },
}


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with worker_groups() as found:
        yield found


@pytest.mark.parametrize("training", CASES.values(), ids=CASES)
def test_one_model_for_every_worker_count(groups: Groups, tmp_path: Path, training: dict[str, Any]) -> None:
    data = a_dataset(tmp_path / "data")

    def trained(name: str, trainer: Any) -> dict[str, Any]:
        return result_of(train_run(a_manifest(data, tmp_path / name, **training), trainer))

    ways = trainers(groups, pause_after=STEPS_OF_FIRST_ATTEMPT)
    alone = trained("one", ways["one"])
    assert trained("two", ways["two"]) == alone
    assert trained("three", ways["three"]) == alone
    assert trained("resumed", ways["resumed"]) == alone
    assert trained("without", lambda program: groups[2].run(as_worker, without_average(program))) != alone


def without_average(program: WorkerConfig) -> WorkerConfig:
    return dataclasses.replace(program, arithmetic=dataclasses.replace(program.arithmetic, average=None))


def result_of(folder: Path) -> dict[str, Any]:
    """Return outcome and evaluations of a finished run, and the bytes of its last checkpoint and model."""
    run = folder_of(folder)
    outcome = read_training_result(run)
    assert outcome is not None
    kept = (f"checkpoints/{outcome.step}.json", "model/model.safetensors", "witness.json")
    return {
        "outcome": outcome,
        "records": {(each.split, each.step): dict(each.document) for each in read_evaluations(run)},
        "files": {name: data for name, data in objects_of(folder).items() if name in kept},
    }
