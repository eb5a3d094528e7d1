"""The fragments of docs/methods.md: each is laid over a small manifest, changes what it says, and trains or searches."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from safetensors.torch import save_file

from support.docs.pages import fences
from support.runs.command_line import dataset, spec, typed
from support.runs.sweep_commands import a_sweep

FRAGMENTS = {
    fence.text.splitlines()[0].strip("# ")[:40]: yaml.safe_load(fence.text)
    for fence in fences("docs/methods.md")
    if fence.kind == "yaml"
}
OF_SWEEPS = {"algorithm", "maxTrialCount", "earlyStopping", "crossValidation"}
EXECUTION = {"cluster", "checkpoint"}
SEARCHES = {name: fragment for name, fragment in FRAGMENTS.items() if fragment.keys() <= OF_SWEEPS}
TRAININGS = {name: fragment for name, fragment in FRAGMENTS.items() if name not in SEARCHES}
RATES = {
    "name": "lr",
    "fieldPath": "spec.training.optimizer.learningRate",
    "searchSpace": {"categorical": {"values": ["0.02", "0.01", "1e-3", "1e-6", "1e-7"]}},
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("methods") / "data", train=16, validation=4)


def ran(capture: pytest.CaptureFixture[str], folder: Path, kind: str, body: dict[str, Any]) -> dict[str, Any]:
    """Run a spec and return its status."""
    about = {"apiVersion": "seedbed.dev/v1alpha1", "kind": kind, "metadata": {"name": "method"}}
    path = folder / "job.json"
    path.write_text(json.dumps({**about, "spec": body}), encoding="utf-8")
    return typed(capture, "run", "-f", path, "-o", "json").status


@pytest.mark.parametrize("fragment", TRAININGS.values(), ids=TRAININGS.keys())
def test_every_method_of_the_list_trains(
    fragment: dict[str, Any], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = spec(data, tmp_path / "runs")
    if "weights" in fragment.get("model", {}):
        fragment = with_local_weights(fragment, tmp_path / "weights.safetensors")
    plain, changed = ran(capsys, tmp_path, "TrainingJob", base), laid_over(base, fragment)
    assert changed != base or "feed" in fragment.get("cluster", {}), "it changes something"
    status = ran(capsys, tmp_path, "TrainingJob", changed)
    assert status["model"]["weightsDigest"].startswith("sha256:")
    assert status["progress"]["step"] > 0
    assert (status["runID"] == plain["runID"]) == (fragment.keys() <= EXECUTION), "a recipe is an identity"


@pytest.mark.parametrize("fragment", SEARCHES.values(), ids=SEARCHES.keys())
def test_every_search_of_the_list_finds_a_winner(
    fragment: dict[str, Any], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    every_rate = {"algorithm": {"type": "Grid"}, "parameters": [RATES], "maxTrialCount": 5}
    base = a_sweep(data, tmp_path / "runs", training={"epochs": 2}, **every_rate)
    status = ran(capsys, tmp_path, "SweepJob", base["spec"] | fragment)
    trials = status["trials"]
    assert trials["succeeded"] + trials["pruned"] == trials["total"]
    assert (trials["pruned"] > 0) == ("earlyStopping" in fragment)
    assert status["bestTrial"]["parameters"][0]["name"] == "lr"


def with_local_weights(fragment: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a fragment whose weights are in a file: those of its network, as a wrapper of networks names them."""
    models = pytest.importorskip("torchvision.models")
    network = models.get_model(fragment["model"]["name"].partition("/")[2])
    save_file({f"module.{name}": tensor for name, tensor in network.state_dict().items()}, file)
    local = deepcopy(fragment)
    local["model"]["weights"]["uri"] = str(file)
    return local


def laid_over(base: dict[str, Any], fragment: dict[str, Any]) -> dict[str, Any]:
    """Return a spec with the fields of a fragment, blocks merged, lists replaced."""
    merged = deepcopy(base)
    for name, value in fragment.items():
        inner = merged.get(name)
        both = isinstance(inner, dict) and isinstance(value, dict) and "type" not in value
        merged[name] = laid_over(inner, value) if both else value
    return merged
