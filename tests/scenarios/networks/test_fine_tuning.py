"""Parts of a network that stay as they are, or learn at their own rate: resumed, replayed and compared."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import load_file

from support.runs.command_line import Scene

FROZEN = ["conv1.*", "norm1.*"]
GROUPS = [{"match": "head.*", "learningRateFactor": "3"}, {"match": "*.bias", "weightDecay": "0.1"}]


def weights(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model/model.safetensors")


def test_frozen_layers_keep_their_first_values_whatever_the_number_of_steps(scene: Scene) -> None:
    short, long = (weights(scene.trained(training__freeze=FROZEN, training__steps=steps)) for steps in (2, 6))
    same = {name for name in short if (short[name] == long[name]).all()}
    assert same == {
        "conv1.weight",
        "norm1.weight",
        "norm1.bias",
        "norm1.running_mean",
        "norm1.running_var",
        "norm1.num_batches_tracked",
    }
    assert short["norm1.num_batches_tracked"] == 0


def test_a_run_with_frozen_layers_and_groups_is_resumed_and_replayed(scene: Scene) -> None:
    folder = scene.trained(training__freeze=FROZEN, training__parameterGroups=GROUPS)
    straight = weights(folder)
    (folder / "result.json").unlink()
    for late in (folder / "checkpoints").glob("*6*"):
        late.unlink()
    assert scene.run().exit_code == 0
    assert all((straight[name] == value).all() for name, value in weights(folder).items())
    replayed = scene.type("verify", folder, "--from-step", 2, "--to-step", 5)
    assert replayed.exit_code == 0, replayed.stderr


def test_each_setting_is_another_run_and_other_weights(scene: Scene) -> None:
    folders = [
        scene.trained(),
        scene.trained(training__freeze=FROZEN),
        scene.trained(training__parameterGroups=GROUPS),
        scene.trained(training__parameterGroups=list(reversed(GROUPS))),
    ]
    identities = {folder.name for folder in folders}
    digests = {sha256((folder / "model/model.safetensors").read_bytes()).digest() for folder in folders}
    assert len(identities) == len(digests) == 4


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"training__freeze": ["layer9.*"]}, "spec.training.freeze: matches no parameter of the model (got 'layer9.*'); names are for example conv1.weight"),
        ({"training__freeze": ["*"]}, "spec.training.freeze: leaves no parameter to train (got '*')"),
        ({"training__freeze": ["conv1 weight"]}, "spec.training.freeze[0]: must be a pattern of parameter names"),
        ({"training__freeze": []}, "spec.training.freeze: must have 1 to 64 entries"),
        ({"training__parameterGroups": [{"match": "tail.*"}]}, "spec.training.parameterGroups: matches no parameter"),
        ({"training__parameterGroups": [{"match": "a"}, {"match": "a"}]}, "has match a more than once"),
        ({"training__parameterGroups": [{"match": "*", "learningRateFactor": "0"}]}, "parameterGroups[0].learningRateFactor"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_one_line(
    scene: Scene, changes: dict[str, Any], says: str
) -> None:
    scene.job(**changes)
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert says in line, line
