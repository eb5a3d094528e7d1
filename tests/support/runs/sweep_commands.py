"""A user's desk for sweeps: a manifest with changes, the command line in this process, and what was computed."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.runs.command_line import Typed, spec, typed
from support.runs.job_builder import steps_executed

STEPS = 3
"""Steps of an epoch: 24 rows in batches of 8."""
LEARNING_RATES = {
    "name": "lr",
    "fieldPath": "spec.training.optimizer.learningRate",
    "searchSpace": {"logUniform": {"min": "1e-3", "max": "0.2"}},
}
ASHA = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 2, "minEpochs": 1}}


def a_sweep(data: Path, output: Path, /, **changes: Any) -> dict[str, Any]:
    """Return a manifest of 4 random learning rates for 4 epochs; None removes a field of the spec.

    `training` and `dataset` change those blocks of the template, `model` and `evaluation` replace them.
    """
    recipe = {name: spec(data, output)[name] for name in ("dataset", "model", "training")}
    recipe["training"].pop("steps")
    recipe["training"] |= {"epochs": 4} | changes.pop("training", {})
    recipe["dataset"] |= changes.pop("dataset", {})
    recipe["model"] = changes.pop("model", recipe["model"])
    fields: dict[str, Any] = {
        "objective": {"metric": "validation/loss", "direction": "Minimize"},
        "algorithm": {"type": "Random", "seed": 1},
        "parameters": [deepcopy(LEARNING_RATES)],
        "trialTemplate": {"spec": recipe | {"evaluation": changes.pop("evaluation", {"everyEpochs": 1})}},
        "maxTrialCount": 4,
        "output": {"uri": str(output)},
        "checkpoint": {"everySteps": 2},
    } | changes
    return {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "SweepJob",
        "metadata": {"name": "tiny"},
        "spec": {name: value for name, value in fields.items() if value is not None},
    }


@dataclass(kw_only=True)
class Desk:
    """A folder with a dataset and as many output stores as a story needs."""

    folder: Path
    data: Path
    capture: pytest.CaptureFixture[str]

    def manifest(self, store: str = "runs", **changes: Any) -> Path:
        """Write a manifest for a store of this folder."""
        path = self.folder / f"{store}.json"
        path.write_text(json.dumps(a_sweep(self.data, self.folder / store, **changes)), encoding="utf-8")
        return path

    def type(self, *words: object) -> Typed:
        """Type `seedbed …` in this process."""
        return typed(self.capture, *words)

    def sweep(self, store: str = "runs", **changes: Any) -> Typed:
        """Type `seedbed run -f sweep.json -o json`."""
        return self.type("run", "-f", self.manifest(store, **changes), "-o", "json")

    def runs(self, store: str = "runs") -> list[RunFolder]:
        """Return the run folders of a store."""
        output = open_storage(str(self.folder / store))
        return [open_run(output, f"sha256:{path.name}") for path in (self.folder / store / "runs").glob("*")]

    def steps(self, store: str = "runs") -> int:
        """Return the steps that were ever computed in a store, by the events of its runs."""
        return sum(map(steps_executed, self.runs(store)))

    def sweep_record(self, store: str = "runs") -> dict[str, Any]:
        """Return the only sweep record of a store."""
        (path,) = (self.folder / store / "sweeps").glob("*/ledger.json")
        return dict(json.loads(path.read_bytes()))
