"""`seedbed validate`, advice and the trials of a sweep."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from seedbed.cli.validate import command
from seedbed_api.admission_warnings import admission_warnings
from seedbed_api.execution_settings import shards_of_busiest_worker, useful_worker_count
from seedbed_api.manifest_loader import validate_document
from seedbed_api.sweepjob import SweepJob
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.trial_recipe import impossible_trials, trial_recipe
from support.manifests.base_manifests import Case

POLICY = Path("examples/admission-policy.yaml")
"""Of Kubernetes, with nothing of ours."""
EXAMPLES = sorted({*Path("examples").glob("*.yaml")} - {POLICY})
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "reader"}}


def run(*arguments: str, stdin: bytes | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(command, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def written(path: Path, *documents: dict[str, Any]) -> str:
    path.write_text("\n---\n".join(map(json.dumps, documents)))
    return str(path)


@pytest.mark.parametrize("path", EXAMPLES, ids=str)
def test_the_examples_are_valid_and_need_no_advice(path: Path) -> None:
    code, out, err = run("-f", str(path))
    assert (code, err) == (0, "")
    assert out.startswith("ok: ")


def test_all_documents_of_all_files_are_checked(tmp_path: Path) -> None:
    good, bad = Case().manifest(), Case(change={"spec.training.sed": 1, "metadata.name": "X"}).manifest()
    first = written(tmp_path / "a.yaml", good, SECRET, bad)
    second = written(tmp_path / "b.yaml", Case(kind="SweepJob").manifest())
    missing = str(tmp_path / "c.yaml")
    code, out, err = run("-f", first, "-f", second, "-f", missing)
    assert code == 2
    assert out.splitlines() == [
        "ok: TrainingJob/small",
        "skipped: Secret/reader (not of seedbed.dev)",
        "ok: SweepJob/sweep",
    ]
    assert [line.split(": ")[0] for line in err.splitlines()] == [
        f"{first}:5 metadata.name",
        f"{first}:5 spec.training.sed",
        missing,
    ]


def test_stdin_is_a_file_like_any_other() -> None:
    assert run("-f", "-", stdin=json.dumps(Case().manifest()).encode()) == (
        0,
        "ok: TrainingJob/small\n",
        "",
    )
    code, _, err = run("-f", "-", stdin=b"\xff")
    assert (code, err) == (2, "stdin: is not UTF-8 at byte 0; save it as UTF-8\n")


KINDS = {
    "a misspelt kind": (
        {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJbo"},
        "kind: is not a kind of seedbed.dev (got 'TrainingJbo'); did you mean TrainingJob?",
    ),
    "no kind": (
        {"apiVersion": "seedbed.dev/v1alpha1"},
        "kind: is not a kind of seedbed.dev (got None); write one of TrainingJob, SweepJob, TrainingProfile",
    ),
    "another version": (
        {**Case().manifest(), "apiVersion": "seedbed.dev/v2"},
        "apiVersion: must be 'seedbed.dev/v1alpha1' (got 'seedbed.dev/v2'); did you mean seedbed.dev/v1alpha1?",
    ),
    "no version": (
        {key: value for key, value in Case().manifest().items() if key != "apiVersion"},
        "apiVersion: is missing (got nothing); write it",
    ),
}


@pytest.mark.parametrize(("document", "line"), KINDS.values(), ids=KINDS)
def test_a_document_of_no_kind_of_ours_is_one_line(
    document: dict[str, Any], line: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "job.yaml", document)
    assert run("-f", path) == (2, "", f"{path}:1 {line}\n")


def test_a_sweep_that_cannot_be_searched_is_refused(tmp_path: Path) -> None:
    manifest = Case(kind="SweepJob", change={"spec.parameters": []}).manifest()
    path = written(tmp_path / "sweep.yaml", manifest)
    fix = "add parameters or crossValidation, or write a TrainingJob"
    line = f"spec.parameters: leaves nothing to search (got []); {fix}"
    assert run("-f", path) == (2, "", f"{path}:1 {line}\n")


def test_workers_that_do_not_help_are_a_warning(tmp_path: Path) -> None:
    path = written(tmp_path / "job.yaml", Case(change={"spec.cluster": {"workers": {"max": 7}}}).manifest())
    code, out, err = run("-f", path)
    assert (code, out) == (0, "ok: TrainingJob/small\n")
    assert err == (
        f"warning: {path}:1 spec.cluster.workers.max: 4 workers are as fast, since the busiest has 2 of 8 "
        "logical shards either way (got 7); use 4\n"
    )


@pytest.mark.parametrize("leaves", range(1, 33))
def test_the_advised_number_is_the_smallest_that_is_as_fast(leaves: int) -> None:
    for workers in range(1, leaves + 1):
        pace = shards_of_busiest_worker(leaves, workers)
        by_search = next(w for w in range(1, workers + 1) if shards_of_busiest_worker(leaves, w) == pace)
        assert useful_worker_count(leaves, workers) == by_search


def test_a_job_with_every_worker_busy_needs_no_advice() -> None:
    for workers in (1, 2, 3, 4, 8):
        job = validate_document(Case(change={"spec.cluster": {"workers": {"max": workers}}}).manifest())
        assert isinstance(job, TrainingJob)
        assert admission_warnings(job) == []


def a_sweep(**change: Any) -> SweepJob:
    sweep = validate_document(Case(kind="SweepJob", change=change).manifest())
    assert isinstance(sweep, SweepJob)
    return sweep


def test_values_of_parameters_become_fields_of_the_trial() -> None:
    recipe = trial_recipe(a_sweep().spec, {"lr": "1e-2", "net": "simple-cnn", "width": "64"})
    assert recipe.training.optimizer.learning_rate == "0.01"
    assert [(argument.name, argument.value) for argument in recipe.model.args] == [("width", "64")]


OPTIMIZERS = [
    {
        "name": "optimizer",
        "fieldPath": "spec.training.optimizer.type",
        "searchSpace": {"categorical": {"values": ["SGD", "AdamW"]}},
    },
    {
        "name": "beta",
        "fieldPath": "spec.training.optimizer.adamW.beta1",
        "searchSpace": {"uniform": {"min": "0.8", "max": "0.95"}},
        "when": {"parameter": "optimizer", "in": ["AdamW"]},
    },
    {
        "name": "epochs",
        "fieldPath": "spec.training.epochs",
        "searchSpace": {"int": {"min": 2, "max": 4}},
    },
]


def test_a_swept_type_takes_its_own_member_and_a_number_stays_a_number() -> None:
    sweep = a_sweep(**{"spec.parameters": OPTIMIZERS})
    recipe = trial_recipe(sweep.spec, {"optimizer": "AdamW", "beta": "0.90", "epochs": "3"})
    assert recipe.training.optimizer.sgd is None
    assert recipe.training.optimizer.adam_w is not None
    assert recipe.training.optimizer.adam_w.beta1 == "0.9"
    assert recipe.training.epochs == 3


def test_a_parameter_of_another_type_is_an_impossible_trial() -> None:
    unconditional = {key: value for key, value in OPTIMIZERS[1].items() if key != "when"}
    manifest = Case(kind="SweepJob", change={"spec.parameters": [unconditional]}).manifest()
    sweep = SweepJob.model_validate(manifest)
    lines = impossible_trials(sweep.spec)
    assert len(lines) == 2
    assert lines[0].startswith(
        "spec.parameters[0].searchSpace: with 0.8 a trial has a mistake at "
        "spec.training.optimizer.adamW: is only allowed with type AdamW"
    )


def test_loading_a_manifest_imports_neither_torch_nor_ray_nor_numpy() -> None:
    program = (
        "import sys, time\n"
        "from seedbed_api.manifest_loader import load_training_job\n"
        "load_training_job('examples/digits.yaml')\n"
        "heavy = {'torch', 'ray', 'numpy', 'pyarrow', 'kopf', 'asyncio'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert 'seedbed_api.sweepjob' not in sys.modules\n"
        "print(time.process_time())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 2.0, "process start is part of every run"
