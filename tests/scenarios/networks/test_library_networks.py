"""A network of torchvision by its name: trained, resumed, replayed, exported and swept like a built-in one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from seedbed.usercode import library_networks
from support.networks.library_networks import needs
from support.runs.command_line import Scene
from support.runs.sweep_commands import Desk

pytestmark = needs("torchvision")
NETWORK = {"name": "torchvision/mobilenet_v3_small", "args": [{"name": "width_mult", "value": "0.5"}]}
RESIZED: dict[str, Any] = {"training__augmentation": [{"type": "Resize", "resize": {"size": 16}}]}


def test_a_run_is_resumed_to_the_same_weights_and_its_steps_are_replayed(scene: Scene) -> None:
    scene.job(model=NETWORK, **RESIZED)
    straight = scene.run("-o", "json").status["model"]["weightsDigest"]
    folder = scene.run_folder()
    (folder / "result.json").unlink()
    for late in (folder / "checkpoints").glob("*6*"):
        late.unlink()
    assert scene.run("-o", "json").status["model"]["weightsDigest"] == straight
    replayed = scene.type("verify", folder, "--from-step", 1, "--to-step", 4)
    assert replayed.exit_code == 0, replayed.stderr
    receipt = json.loads((folder / "receipt.json").read_text(encoding="utf-8"))
    assert library_networks.library_digest("torchvision").removeprefix("sha256:") in json.dumps(receipt)


def test_torchvision_alone_loads_the_exported_model(scene: Scene) -> None:
    from safetensors.torch import load_file
    from torchvision.models import get_model

    scene.job(model=NETWORK, **RESIZED)
    assert scene.run().exit_code == 0
    folder = scene.run_folder() / "model"
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["model"] == {"name": NETWORK["name"]}
    network = get_model("mobilenet_v3_small", num_classes=len(config["classes"]), width_mult=0.5)
    network.load_state_dict(load_file(folder / "model.safetensors"), strict=True)


def test_another_version_of_the_library_is_another_run(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    scene.job(model=NETWORK, **RESIZED)
    assert scene.run().exit_code == 0
    library_networks.library_digest.cache_clear()
    sources, root = library_networks.installed_sources("torchvision")
    patched = type(sources)(files={**sources.files, "torchvision/version.py": b"patched"})
    monkeypatch.setattr(library_networks, "installed_sources", lambda _: (patched, root))
    try:
        assert scene.run().exit_code == 0
    finally:
        library_networks.library_digest.cache_clear()
    assert len(list((scene.runs / "runs").iterdir())) == 2


def test_trials_compare_a_built_in_network_with_one_of_a_library(desk: Desk) -> None:
    names = {
        "name": "network",
        "fieldPath": "spec.model.name",
        "searchSpace": {"categorical": {"values": ["simple-cnn", "torchvision/squeezenet1_1"]}},
    }
    augmentation = [{"type": "Resize", "resize": {"size": 24}}]
    sweep: dict[str, Any] = {
        "algorithm": {"type": "Grid"},
        "parameters": [names],
        "model": {"name": "simple-cnn"},
        "training": {"augmentation": augmentation},
        "maxTrialCount": 2,
    }
    first = desk.sweep(**sweep)
    assert first.exit_code == 0, first.stderr
    assert first.status["trials"]["succeeded"] == 2
    runs = sorted(
        folder.read_json("receipt.json")["predicate"]["buildDefinition"]["externalParameters"]["recipe"][
            "model"
        ]["name"]
        for folder in desk.runs()
    )
    assert runs == ["simple-cnn", "torchvision/squeezenet1_1"]
    again = desk.sweep(**sweep)
    assert again.status["trials"]["reused"] == 2
    assert len(desk.runs()) == 2


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("torchvision/resnt18", "did you mean torchvision/resnet18"),
        ("torchvision/googlenet", 'add {name: aux_logits, value: "false"} to spec.model.args'),
        ("torchvision/mnasnet0_5", "choose another network, or other spec.model.args"),
        ("keras/resnet", "torchvision/NAME or timm/NAME"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(
    scene: Scene, name: str, says: str
) -> None:
    scene.job(model={"name": name}, training__augmentation=[{"type": "Resize", "resize": {"size": 32}}])
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert "spec.model.name" in line
    assert says in line, line
    assert not scene.runs.exists() or not list(scene.runs.rglob("result.json"))
