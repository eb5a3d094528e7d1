"""The export of every network that is accepted loads strictly in plain torch; what cannot be kept is not trained."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from scenarios.bad_input.answers import refused, trained
from seedbed.arithmetic.tensor_digests import weights_digest
from seedbed.runs import latest_checkpoint, open_run
from seedbed.storage import open_storage
from support.networks import tensor_layouts
from support.runs.command_line import Scene

SOURCE = Path(tensor_layouts.__file__).read_text(encoding="utf-8")
SHARED = ("a layer used twice", "tied weights", "one BatchNorm under two names")


def entrypoint(case: str) -> dict[str, object]:
    return {"entrypoint": "mine:Net", "args": [{"name": "case", "value": case.replace(" ", "-")}]}


def exported(scene: Scene) -> dict[str, torch.Tensor]:
    return load_file(scene.run_folder() / "model" / "model.safetensors")


@pytest.mark.parametrize("case", [*SHARED, "one buffer under two names", "a bool buffer", "a float64 buffer"])
def test_what_is_hashed_kept_and_exported_is_one_set_of_tensors(scene: Scene, case: str) -> None:
    scene.job(model=entrypoint(case))
    status = trained(scene.run("-o", "json", "--code", scene.code(SOURCE))).status
    tensors = exported(scene)
    fresh = tensor_layouts.KEPT[case][0](3)
    fresh.load_state_dict(tensors, strict=True)
    assert weights_digest(fresh.state_dict()) == weights_digest(tensors) == status["model"]["weightsDigest"]
    kept = latest_checkpoint(open_run(open_storage(str(scene.runs)), f"sha256:{scene.run_folder().name}"))
    assert kept is not None
    assert kept[0].weights_digest == status["model"]["weightsDigest"]
    assert {f"model.{name}" for name in tensors} == {n for n in kept[1] if n.startswith("model.")}


@pytest.mark.parametrize("case", SHARED)
def test_shared_tensors_come_through_a_resume(scene: Scene, case: str) -> None:
    code = scene.code(SOURCE)
    scene.job(model=entrypoint(case), output__uri=str(scene.folder / "whole"))
    whole = trained(scene.run("-o", "json", "--code", code)).status
    scene.job(model=entrypoint(case), training__steps=4)
    trained(scene.run("--code", code))
    scene.job(model=entrypoint(case))  # begins with the four steps that are there
    resumed = trained(scene.run("-o", "json", "--code", code)).status
    assert resumed["model"]["weightsDigest"] == whole["model"]["weightsDigest"]


@pytest.mark.parametrize(
    "case",
    [
        "no state",
        "statistics that are not saved",
        "extra state",
        "parameters that overlap",
        "a complex buffer",
        "a bfloat16 buffer",
        "a hook that drops",
        *tensor_layouts.LOST,
    ],
)
def test_what_cannot_be_kept_whole_is_refused_before_the_first_step(scene: Scene, case: str) -> None:
    _, says = (tensor_layouts.REFUSED | tensor_layouts.LOST)[case]
    scene.job(model=entrypoint(case))
    refused(scene.run("--code", scene.code(SOURCE)), "ModelError: spec.model.entrypoint: ", *says)
    assert not list(scene.folder.rglob("checkpoints"))
    assert not list(scene.folder.rglob("model.safetensors"))
