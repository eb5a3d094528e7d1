"""A model that starts from weights: one digest for every format, place and attempt, and what cannot be meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.numpy import load_file, save_file
from safetensors.torch import load_file as load_tensors

from support.runs.command_line import Scene

HEAD = {"exclude": ["head.*"]}


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model/model.safetensors")


def receipt(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "receipt.json").read_text())


@pytest.fixture
def start(scene: Scene) -> Path:
    """Return the model of a run of two steps with another seed."""
    folder = scene.trained(training__steps=2, training__seed=11)
    file = scene.folder / "start.safetensors"
    file.write_bytes((folder / "model/model.safetensors").read_bytes())
    return file


def test_frozen_layers_have_the_values_of_the_file_and_excluded_ones_do_not(
    scene: Scene, start: Path
) -> None:
    folder = scene.trained(model__weights={"uri": str(start), **HEAD}, training__freeze=["conv*", "norm*"])
    given, found = load_file(start), weights(folder)
    same = {name for name in found if (found[name] == given[name]).all()}
    assert same == {name for name in found if not name.startswith("head.")}


def test_a_torch_file_of_the_same_tensors_is_the_same_run(scene: Scene, start: Path) -> None:
    first = scene.trained(model__weights={"uri": str(start)})
    digest = json.loads((first / "recipe.json").read_text())["model"]["weights"]["digest"]
    file = scene.folder / "checkpoint.pt"
    torch.save({"epoch": 3, "model_state_dict": load_tensors(start)}, file)
    scene.job(model__weights={"uri": str(file), "digest": digest})
    answer = scene.run()
    assert answer.exit_code == 0, answer.stderr
    assert "complete already" in answer.stderr
    (dependency,) = (
        each
        for each in receipt(first)["predicate"]["buildDefinition"]["resolvedDependencies"]
        if each["name"] == "weights"
    )
    assert f"sha256:{dependency['digest']['sha256']}" == digest


def test_a_run_from_weights_is_resumed_and_replayed_wherever_the_file_lies(scene: Scene, start: Path) -> None:
    folder = scene.trained(model__weights={"uri": str(start)})
    straight = weights(folder)
    (folder / "result.json").unlink()
    for late in (folder / "checkpoints").glob("*6*"):
        late.unlink()
    moved = start.rename(scene.folder / "moved.safetensors")
    scene.job(model__weights={"uri": str(moved)})
    assert scene.run().exit_code == 0
    assert all((straight[name] == value).all() for name, value in weights(folder).items())
    assert scene.type("verify", folder).exit_code == 2
    for workers in (1, 2):
        replayed = scene.type("verify", folder, "--weights", moved, "--workers", workers)
        assert replayed.exit_code == 0, replayed.stderr


def test_a_run_of_the_store_is_the_same_start_as_its_file(scene: Scene) -> None:
    first = scene.trained(training__steps=2)
    by_run = scene.trained(model__weights={"run": first.name[:12]})
    execution = receipt(by_run)["predicate"]["runDetails"]["seedbed_execution"]
    assert execution["weightsRun"] == f"sha256:{first.name}"
    assert execution["weightsURI"].endswith(f"{first.name}/model/model.safetensors")
    scene.job(model__weights={"uri": str(first / "model/model.safetensors")})
    answer = scene.run()
    assert "complete already" in answer.stderr, answer.stderr
    replayed = scene.type("verify", by_run)
    assert replayed.exit_code == 0, replayed.stderr


def test_a_head_of_another_size_is_named_and_can_be_left_out(scene: Scene, start: Path) -> None:
    tensors = load_file(start)
    tensors |= {name: tensors[name][:2].copy() for name in tensors if name.startswith("head.")}
    save_file(tensors, start)
    scene.job(model__weights={"uri": str(start)})
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert "spec.model.weights: head." in line
    assert 'start that layer anew with exclude: ["head.*"]' in line
    scene.job(model__weights={"uri": str(start), **HEAD}, training__steps=2)
    assert scene.run().exit_code == 0


@pytest.fixture
def as_another(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Return a function that changes the user by the key of the owner."""

    def change(name: str) -> None:
        file = tmp_path / "keys" / f"{name}.key"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(name * 32)
        monkeypatch.setenv("SEEDBED_OWNER_KEY", str(file))

    return change


def test_the_model_of_somebody_else_is_a_start_only_where_the_output_is_trusted(
    scene: Scene, as_another: Callable[[str], None]
) -> None:
    as_another("a")
    first = scene.trained(training__steps=2)
    as_another("b")
    scene.job(model__weights={"run": first.name[:12]})
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert "spec.model.weights.run: was not written by you, and spec.output.trust is Own" in line
    scene.job(model__weights={"run": first.name[:12]}, output__trust="Store")
    assert scene.run().exit_code == 0


@pytest.mark.parametrize(
    ("run", "says"),
    [("00000000", "has no such run (got '00000000')"), ("0" * 64, "is not finished (got '0000")],
)
def test_a_run_that_is_not_there_is_named(scene: Scene, run: str, says: str) -> None:
    scene.job(model__weights={"run": run})
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert "spec.model.weights.run: " in line
    assert says in line


def test_all_trials_of_a_sweep_start_from_the_weights(scene: Scene, start: Path) -> None:
    job = yaml.safe_load(scene.job(model__weights={"uri": str(start)}, training__steps=2).read_text())["spec"]
    template = {name: job[name] for name in ("dataset", "model", "training", "evaluation")}
    rates = {"categorical": {"values": ["0.01", "0.1"]}}
    sweep = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "SweepJob",
        "metadata": {"name": "tiny"},
        "spec": {
            "objective": {"metric": "validation/accuracy", "direction": "Maximize"},
            "algorithm": {"type": "Grid"},
            "parameters": [
                {"name": "rate", "fieldPath": "spec.training.optimizer.learningRate", "searchSpace": rates}
            ],
            "trialTemplate": {"spec": template},
            "maxTrialCount": 2,
            "output": job["output"],
        },
    }
    scene.manifest.write_text(yaml.safe_dump(sweep))
    answer = scene.run()
    assert answer.exit_code == 0, answer.stderr
    recipes = [json.loads(file.read_text()) for file in (scene.runs / "runs").glob("*/recipe.json")]
    digests = [recipe["model"]["weights"]["digest"] for recipe in recipes if "weights" in recipe["model"]]
    assert len(digests) == 2
    assert len(set(digests)) == 1
