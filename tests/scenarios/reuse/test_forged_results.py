"""A stored result completes a job only if receipt, model files and evaluations agree with it and with the run."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from support.runs.command_line import Scene, Typed
from support.runs.forged_objects import (
    byproduct,
    forge_checkpoint,
    other_weights,
    reseal,
    reseal_receipt,
    rewrite,
)

STORE = ("--set", "spec.output.trust=Store")
"""What believes a store as far as its objects agree."""


def reasons(answer: Typed) -> set[str]:
    assert answer.exit_code == 0, answer.stderr
    return {condition["reason"] for condition in answer.status["conditions"]}


def digest(answer: Typed) -> str:
    return answer.status["model"]["weightsDigest"]


def only_a_result(run: Path) -> None:
    """Leave nothing but a result, as a neighbour would write it for a run that nobody has trained."""
    for path in [path for path in run.iterdir() if path.name not in ("result.json", "environment.json")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def better_accuracy(run: Path) -> None:
    def better(document: dict) -> None:
        byproduct(document, "metrics")["annotations"]["test/accuracy"] = "1"

    reseal_receipt(run, better)
    reseal(run / "result.json", lambda result: result["metrics"].update({"test/accuracy": "1"}))


def other_model(run: Path) -> None:
    file = run / "model/model.safetensors"
    rewrite(file, other_weights(file))


def other_model_and_its_digest(run: Path) -> None:
    """Exchange the model file, and name its sha256 in outcome, receipt and result."""
    other_model(run)
    new = sha256((run / "model/model.safetensors").read_bytes()).hexdigest()
    reseal(run / "outcome.json", lambda outcome: outcome["files"].update({"model/model.safetensors": new}))

    def name(document: dict) -> None:
        (subject,) = [each for each in document["subject"] if each["name"].endswith(".safetensors")]
        subject["digest"]["sha256"] = new

    reseal_receipt(run, name)
    reseal(
        run / "result.json",
        lambda result: result["outcome"]["files"].update({"model/model.safetensors": new}),
    )


def without_the_model(run: Path) -> None:
    """Leave the model out of what receipt and result list."""

    def drop(document: dict) -> None:
        document["subject"] = [
            each for each in document["subject"] if not each["name"].endswith(".safetensors")
        ]

    reseal_receipt(run, drop)
    reseal(run / "result.json", lambda result: result["outcome"]["files"].pop("model/model.safetensors"))


def other_classes(run: Path) -> None:
    file = run / "model/config.json"
    document = json.loads(file.read_bytes())
    document["classes"].reverse()
    rewrite(file, json.dumps(document).encode())


def other_evaluation(run: Path) -> None:
    for file in (run / "evaluations").glob("validation-3.json"):
        reseal(file, lambda record: record["document"].update(loss=1))


def other_test_evaluation(run: Path) -> None:
    for file in (run / "evaluations").glob("test-*.json"):
        reseal(file, lambda record: record["document"].update(loss=1))


def fewer_steps(run: Path) -> None:
    reseal(run / "result.json", lambda result: result["outcome"].update(step=3))


def other_weights_digest(run: Path) -> None:
    reseal(run / "result.json", lambda result: result["outcome"].update(weights_digest=f"sha256:{'0' * 64}"))


def receipt_of_another_run(run: Path) -> None:
    def rename(document: dict) -> None:
        document["predicate"]["buildDefinition"]["externalParameters"]["recipe"]["training"]["seed"] = 4

    reseal_receipt(run, rename)


def no_receipt(run: Path) -> None:
    (run / "receipt.json").unlink()


FORGED: dict[str, tuple[Callable[[Path], None], str]] = {
    "result alone": (only_a_result, "receipt.json"),
    "no receipt": (no_receipt, "receipt.json"),
    "receipt of another run": (receipt_of_another_run, "receipt.json"),
    "receipt and result with better metrics": (better_accuracy, "result.json: test/accuracy"),
    "another model": (other_model, "model/model.safetensors: its sha256"),
    "another model with its sha256 everywhere": (
        other_model_and_its_digest,
        "model/model.safetensors: its weights",
    ),
    "no model among the subjects": (without_the_model, "result.json: it lists ['model/config.json']"),
    "other classes": (other_classes, "model/config.json: its sha256"),
    "evaluation of validation": (other_evaluation, "evaluations/: a record up to step 6"),
    "evaluation of test": (other_test_evaluation, "result.json: test/loss"),
    "fewer steps": (fewer_steps, "result.json: its step"),
    "other weights digest": (other_weights_digest, "result.json: its weights are not those"),
}


QUICK = (
    "result alone",
    "another model",
    "evaluation of validation",
    "receipt and result with better metrics",
)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in FORGED]
)
def test_forged_object_completes_no_job_and_the_run_gives_its_own_bits(scene: Scene, name: str) -> None:
    forge, says = FORGED[name]
    scene.job()
    whole = scene.run("-o", "json")
    forge(scene.run_folder())
    answer = scene.run("-o", "json", *STORE)
    assert reasons(answer) == {"Trained"}
    assert digest(answer) == digest(whole)
    assert answer.status["metrics"] == whole.status["metrics"]
    assert says in answer.stderr, answer.stderr
    assert list((scene.run_folder() / "refused").rglob("*.json.*")), "what was refused is kept"
    assert reasons(scene.run("-o", "json", *STORE)) == {"AlreadyComputed"}


def unfinished(run: Path) -> None:
    for name in ("result.json", "receipt.json", "outcome.json"):
        (run / name).unlink()
    shutil.rmtree(run / "model")


@pytest.mark.parametrize("step", [6, 4])
def test_checkpoint_with_other_tensors_and_new_seals_is_refused_by_the_witness(
    scene: Scene, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    scene.job()
    whole = scene.run("-o", "json")
    unfinished(scene.run_folder())
    for file in (scene.run_folder() / "checkpoints").iterdir():
        file.unlink() if int(file.stem) > step else None
    forge_checkpoint(scene.run_folder(), step)
    answer = scene.run("-o", "json", *STORE)
    assert f"checkpoints/{step}.json: its tensors are not those that ledger/" in caplog.text
    assert digest(answer) == digest(whole)


@pytest.mark.parametrize("step", [6])
def test_forged_witness_is_found_by_the_evaluation_of_that_step(
    scene: Scene, step: int, caplog: pytest.LogCaptureFixture
) -> None:
    scene.job()
    whole = scene.run("-o", "json")
    unfinished(scene.run_folder())
    forge_checkpoint(scene.run_folder(), step, witness_too=True)
    answer = scene.run("-o", "json", *STORE)
    assert f"checkpoints/{step}.json: its weights are not those that were evaluated" in caplog.text
    assert digest(answer) == digest(whole)


def test_forged_outcome_does_not_end_a_training(scene: Scene) -> None:
    scene.job()
    whole = scene.run("-o", "json")
    run = scene.run_folder()
    (run / "result.json").unlink()
    (run / "receipt.json").unlink()
    other_model(run)
    new = sha256((run / "model/model.safetensors").read_bytes()).hexdigest()
    reseal(run / "outcome.json", lambda outcome: outcome["files"].update({"model/model.safetensors": new}))
    answer = scene.run("-o", "json", *STORE)
    assert "model/model.safetensors: its weights digest is not that of the run" in answer.stderr
    assert digest(answer) == digest(whole)
