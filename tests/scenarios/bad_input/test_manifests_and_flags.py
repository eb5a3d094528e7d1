"""What is mistyped in a manifest or on the command line: refused before anything is written."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from support.runs.command_line import Scene, Typed


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """A command with a mistake, and what its one line must say."""

    type: Callable[[Scene], Typed]
    says: tuple[str, ...]
    code: int = 2


def field(*says: str, code: int = 2, **changes: Any) -> Mistake:
    def run(scene: Scene) -> Typed:
        scene.job(**changes)
        return scene.run()

    return Mistake(type=run, says=says, code=code)


def flags(*words: str, says: tuple[str, ...], code: int = 2) -> Mistake:
    def run(scene: Scene) -> Typed:
        scene.job()
        return scene.run(*words)

    return Mistake(type=run, says=says, code=code)


def words(*typed: str, says: tuple[str, ...]) -> Mistake:
    return Mistake(type=lambda scene: scene.type(*typed), says=says)


def text(content: Callable[[str], str | bytes], *says: str) -> Mistake:
    def run(scene: Scene) -> Typed:
        found = content(scene.job().read_text())
        scene.manifest.write_bytes(found if isinstance(found, bytes) else found.encode())
        return scene.run()

    return Mistake(type=run, says=says)


WEIGHTS = {"type": "CrossEntropy", "crossEntropy": {"classWeights": [{"name": "cow", "weight": "2"}]}}
LEVELS = {"metric": "validation/loss", "direction": "Minimize", "patienceEvaluations": 1}

MISTAKES = {
    # fields
    "unknown field": field("spec.training.epoch", "3", "did you mean epochs?", training__epoch=3),
    "wrong type": field("spec.training.steps", "'six'", "write a whole number", training__steps="six"),
    "missing field": field("spec.training.optimizer: is missing", training__optimizer=None),
    "missing dataset": field("spec.dataset.uri", "/nowhere", "dataset build", dataset__uri="/nowhere"),
    "digest of another dataset": field(
        "spec.dataset.digest", "now holds sha256:", "pin the new digest", dataset__digest="sha256:" + "0" * 64
    ),
    "digest that is none": field("spec.dataset.digest", "'abc'", "dataset show", dataset__digest="abc"),
    "batch larger than the dataset": field(
        "spec.training.batch.globalSize",
        "24 training rows",
        "128",
        "use at most 24",
        training__batch={"globalSize": 128, "microSize": 4},
    ),
    "more workers than leaves": field(
        "spec.cluster.workers.max", "5", "lower it", cluster__workers={"min": 1, "max": 5}
    ),
    "unknown scheme of the dataset": field("spec.dataset.uri", "ftpx://a", "s3://", dataset__uri="ftpx://a"),
    "unknown scheme of the output": field("spec.output.uri", "gopher://a", "s3://", output__uri="gopher://a"),
    "volume of a cluster": field("spec.dataset.uri", "pvc://c/p", "mounted", dataset__uri="pvc://c/p"),
    "bucket without a name": field("spec.output.uri", "'s3://'", "s3://name", output__uri="s3://"),
    "output on a web server": field(
        "spec.output.uri", "http://127.0.0.1:1/a", "bucket", output__uri="http://127.0.0.1:1/a"
    ),
    "class weight of an unknown class": field(
        "classWeights", "'cow'", "class0, class1", training__loss=WEIGHTS
    ),
    "subset without rows": field(
        "spec.dataset", "no training row", "larger subset", dataset__subset={"fraction": "0.001"}
    ),
    "unknown model": field("spec.model.name", "'resnet17'", "did you mean", model={"name": "resnet17"}),
    "unknown model argument": field(
        "spec.model.args", "'widht'", "known are width", model__args=[{"name": "widht", "value": "4"}]
    ),
    "model argument of the wrong type": field(
        "spec.model.args", "'many' is no int", model__args=[{"name": "width", "value": "many"}]
    ),
    "pictures too small for the model": field(
        "spec.training.augmentation",
        "1 x 1 pixels",
        "larger size",
        training__augmentation=[{"type": "Resize", "resize": {"size": 1}}],
    ),
    "no module of that name": field(
        "spec.model.entrypoint", "no module nowhere", "--code", model={"entrypoint": "nowhere:Net"}
    ),
    "no wheel at the URL": field(
        "spec.model.code.uri",
        "/a/b.whl",
        "check the path",
        model={"entrypoint": "mine:Net", "code": {"uri": "/a/b.whl"}},
    ),
    "stop rule without evaluations": field(
        "spec.training.earlyStopping",
        "evaluation.everyEpochs",
        training__earlyStopping=LEVELS,
        evaluation={},
    ),
    # documents
    "empty manifest": text(lambda _: "", "job.yaml", "holds no document"),
    "not YAML": text(lambda _: "a: [", "job.yaml", "is no YAML", "line 1"),
    "YAML, but a list": text(lambda _: "- a", "job.yaml:1", "begin it with apiVersion and kind"),
    "not text": text(lambda _: b"\xff\xfe\x00", "job.yaml", "UTF-8"),
    "two documents": text(lambda t: f"{t}\n---\n{t}", "holds 2 documents", "split the file"),
    "another kind": text(
        lambda t: t.replace("TrainingJob", "TrainingProfile"), "kind", "'TrainingProfile'", "TrainingJob"
    ),
    "another version": text(lambda t: t.replace("v1alpha1", "v1"), "apiVersion", "v1alpha1"),
    "no manifest": words("run", "-f", "no-such-job.yaml", says=("no-such-job.yaml", "name a manifest file")),
    "a folder as manifest": words("run", "-f", "/tmp", says=("/tmp", "name a manifest file")),
    # flags
    "workers that are no number": flags("--workers", "two", says=("--workers", "'two'", "1:4")),
    "no workers at all": flags("--workers", "0", says=("--workers", "'0'", "1:4")),
    "workers from more to less": flags("--workers", "3:1", says=("--workers", "'3:1'", "1:4")),
    "set without a value": flags("--set", "steps", says=("--set", "'steps'", "spec.training.epochs=3")),
    "set of an unknown path": flags(
        "--set", "spec.training.epoch=3", says=("--set", "did you mean spec.training.epochs?")
    ),
    "set to a wrong type": flags("--set", "spec.training.steps=many", says=("spec.training.steps", "'many'")),
    "unknown flag": flags("--outptu", "x", says=("--outptu", "--output", "seedbed run --help")),
    "one word too many": flags("again", says=("again", "seedbed run --help")),
    "unknown format": flags("-o", "yaml", says=("-o", "'yaml'", "'json'")),
    "unknown device": flags("--device", "tpu", says=("--device", "'tpu'", "cuda")),
    "code that is not there": flags("--code", "/nowhere", says=("--code", "/nowhere")),
    "secret that is not there": flags("--output-secret", "/nowhere", says=("--output-secret", "/nowhere")),
    "policy of signatures that is not there": flags(
        "--signature-policy", "/nowhere", says=("--signature-policy", "/nowhere")
    ),
    "cache of no bytes": flags("--cache-bytes", "0", says=("--cache-bytes", "0")),
    "cache that cannot be made": flags("--cache", "/proc/cache", says=("--cache", "/proc/cache", "leave")),
    "output that cannot be made": flags(
        "--output", "/proc/runs", says=("output.uri", "/proc/runs", "name a")
    ),
    "data that are not there": flags(
        "--dataset", "/nowhere", says=("dataset.uri", "/nowhere", "dataset build")
    ),
    "output that is a file": flags("--output", "/etc/passwd", says=("output.uri", "not a directory")),
    "no manifest named": words("run", says=("-f", "seedbed run --help")),
    "unknown command": words("rnu", says=("'rnu'", "run, runs, top, logs, validate, dataset")),
    # datasets
    "unknown dataset command": words("dataset", "bild", says=("'bild'", "'build'")),
    "show nothing": words("dataset", "show", "/nowhere", says=("dataset.uri", "/nowhere", "dataset build")),
    "check nothing": words("dataset", "check", "/nowhere", says=("/nowhere", "dataset build")),
    "export nothing": words(
        "dataset", "export", "/nowhere", "/tmp/x", "--format", "parquet", says=("/nowhere", "dataset build")
    ),
    "export in no format": words("dataset", "export", "/a", "/b", says=("--format", "parquet")),
    "build from nothing": words(
        "dataset",
        "build",
        "/nowhere",
        "/tmp/x",
        says=("SOURCE", "/nowhere", "no such folder", "correct the path"),
    ),
    "build without a source": words("dataset", "build", says=("SOURCE", "dataset build --help")),
    "fractions without names": words(
        "dataset", "build", "/nowhere", "/tmp/x", "--split", "0.5,0.5", says=("--split", "train=0.8")
    ),
    "unknown scheme of a source": words("dataset", "build", "foo://a", "/tmp/x", says=("foo://a", "s3://")),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_that_names_field_value_and_fix(name: str, scene: Scene) -> None:
    mistake = MISTAKES[name]
    answer = mistake.type(scene)
    (line,) = answer.errors
    assert line.startswith("error: "), line
    assert [word for word in mistake.says if word not in line] == [], line
    assert answer.exit_code == mistake.code
    assert answer.stdout == ""
    assert not list(scene.folder.rglob("result.json"))


def test_a_refused_manifest_still_has_a_status_on_stdout(scene: Scene) -> None:
    scene.job(training__steps="six")
    answer = scene.run("-o", "json")
    (line,) = answer.errors
    conditions = {c["type"]: c for c in answer.status["conditions"]}
    assert (answer.exit_code, conditions["Failed"]["reason"]) == (2, "InvalidSpec")
    assert conditions["Failed"]["message"] in line
    assert answer.status["lastFailure"]["exitCode"] == 2


def test_two_mistakes_are_two_lines(scene: Scene) -> None:
    scene.job(training__steps="six", training__epoch=3)
    told = scene.run().stderr
    assert "spec.training.steps" in told
    assert "spec.training.epoch:" in told
    assert "Traceback" not in told


def test_the_manifest_may_come_through_a_pipe(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.loads(scene.job().read_text())
    document["spec"]["training"]["steps"] = "six"
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(document)))
    (line,) = scene.type("run", "-f", "-").errors
    assert "spec.training.steps: must be an integer" in line


def test_help_is_no_mistake(scene: Scene) -> None:
    answer = scene.type("run", "--help")
    assert (answer.exit_code, answer.stderr) == (0, "")
    assert "--workers" in answer.stdout


def test_no_gpu_may_be_another_machines_luck(scene: Scene) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("not run: there is a GPU here")
    scene.job()
    answer = scene.run("--device", "cuda")
    (line,) = answer.errors
    assert answer.exit_code == 75
    assert "--device: there is no GPU here (got 'cuda'); leave --device away" in line


def test_mistakes_cover_every_flag_of_run() -> None:
    from seedbed.cli.run import command

    told = " ".join(" ".join(mistake.says) for mistake in MISTAKES.values())
    # the one is refused by the same rule as --output-secret, the other by the name of its field
    untried = {"--dataset-secret", "--dataset"}
    assert "dataset.uri" in told
    named = {option for parameter in command.params for option in parameter.opts}
    assert {o for o in named if o not in told} - untried - {"--file", "-f"} == set()
