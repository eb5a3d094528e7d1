"""Moving averages of weights as a user has them: the model, resumed, replayed, compared and searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from seedbed.receipts import read_receipt
from seedbed.runs.checkpoint_store import load_checkpoint
from seedbed.runs.tensor_serialization import MODEL, tensors_with_prefix
from support.runs.command_line import Scene
from support.runs.small_run import folder_of

EMA = {"decay": "0.9"}
BEST = {"training__modelSelection": "Best", "evaluation": {"everySteps": 2}}


def model_of(folder: Path) -> dict[str, Any]:
    return load_file(folder / "model/model.safetensors")


def weights_of(folder: Path, step: int) -> dict[str, Any]:
    _, tensors = load_checkpoint(folder_of(folder), step)
    return tensors_with_prefix(tensors, MODEL)


def equal(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all((one[name] == other[name]).all() for name in one)


def test_the_model_is_the_average_and_the_checkpoint_has_the_weights_too(scene: Scene) -> None:
    plain, averaged = scene.trained(), scene.trained(training__ema=EMA)
    assert plain.name != averaged.name
    assert equal(weights_of(plain, 6), weights_of(averaged, 6))
    assert equal(model_of(plain), weights_of(plain, 6))
    model, weights = model_of(averaged), weights_of(averaged, 6)
    same = {name for name in model if (model[name] == weights[name]).all()}
    assert same == {name for name in model if "running" in name or "num_batches" in name}


def test_a_decay_of_0_is_another_run_with_the_plain_weights(scene: Scene) -> None:
    plain, averaged = scene.trained(), scene.trained(training__ema={"decay": "0"})
    assert plain.name != averaged.name
    assert equal(model_of(plain), model_of(averaged))
    one, other = read_receipt(plain).decided, read_receipt(averaged).decided
    assert (one.metrics, one.checkpoints) == (other.metrics, other.checkpoints)


def test_averaging_after_the_last_step_leaves_the_weights(scene: Scene) -> None:
    plain, averaged = scene.trained(), scene.trained(training__ema={"decay": "0.999", "startStep": 6})
    assert equal(model_of(plain), model_of(averaged))


@pytest.mark.parametrize("options", [{}, BEST], ids=["last", "best"])
def test_an_averaged_run_is_resumed_and_replayed(scene: Scene, options: dict[str, Any]) -> None:
    folder = scene.trained(training__ema=EMA, **options)
    straight = (folder / "model/model.safetensors").read_bytes()
    receipt = read_receipt(folder).decided
    for late in ("result.json", "model/model.safetensors", "checkpoints/6.json"):
        (folder / late).unlink()
    answer = scene.run()
    assert answer.exit_code == 0, answer.stderr
    assert (folder / "model/model.safetensors").read_bytes() == straight
    assert read_receipt(folder).decided == receipt
    for window in (
        ("--from-step", 2, "--to-step", 5),
        ("--from-step", 0),
        ("--workers", 2, "--from-step", 4),
    ):
        replayed = scene.type("verify", folder, *window)
        assert replayed.exit_code == 0, (window, replayed.stderr)
        assert "reproduced" in replayed.stdout


def test_evaluations_and_the_best_model_are_of_averages(scene: Scene) -> None:
    folder = scene.trained(training__ema=EMA, **BEST)
    decided = read_receipt(folder).decided
    checkpoints = dict(decided.checkpoints)
    found = {
        step: load_checkpoint(folder_of(folder), step)[0].weights_digest
        for step in checkpoints
        if (folder / f"checkpoints/{step}.json").exists()
    }
    assert found == {step: checkpoints[step] for step in found}
    assert decided.weights_digest in checkpoints.values()


def test_a_checkpoint_with_other_averages_is_not_used(scene: Scene) -> None:
    """The averages are witnessed by the ledger: seals and digests made anew do not hide another one."""
    from seedbed.runs.checkpoint_store import blob_path, checkpoint_record, record_path
    from seedbed.runs.evaluation_records import read_evaluations
    from seedbed.runs.tensor_serialization import serialize

    folder = scene.trained(training__ema=EMA)
    run, straight = folder_of(folder), model_of(folder)
    record, tensors = load_checkpoint(run, 4)
    name = "optimizer.average.head.weight"
    forged = tensors | {name: np.array(tensors[name][::-1])}
    made = checkpoint_record(
        forged,
        run_id=record.run_id,
        trajectory_id=record.trajectory_id,
        step=4,
        ledger_chain=bytes.fromhex(record.ledger_chain),
        evaluations=read_evaluations(run, split="validation", up_to=4),
    )
    for part, digest in made.blobs.items():
        path = folder / blob_path(digest)
        if not path.exists():
            path.write_bytes(serialize(tensors_with_prefix(forged, part)))
    place = folder / record_path(4)
    place.chmod(0o644)
    place.write_bytes(made.to_bytes())
    for late in ("result.json", "model/model.safetensors", "checkpoints/6.json"):
        (folder / late).unlink()
    assert scene.run().exit_code == 0
    assert equal(model_of(folder), straight)


@pytest.mark.parametrize(
    ("ema", "says"),
    [
        ({}, "spec.training.ema.decay: "),
        ({"decay": "1"}, "spec.training.ema.decay: must be at least 0 and less than 1 (got '1'); choose a value in that range"),
        ({"decay": 0.9}, "spec.training.ema.decay: "),
        ({"decay": "0.9", "startStep": -1}, "spec.training.ema.startStep: "),
        ({"decay": "0.9", "warmup": 3}, "spec.training.ema.warmup: "),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_field(scene: Scene, ema: dict[str, Any], says: str) -> None:
    scene.job(training__ema=ema)
    answer = scene.run()
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert says in line, line
