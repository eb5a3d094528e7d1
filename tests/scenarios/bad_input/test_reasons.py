"""Every reason that a TrainingJob's status can show is a word of the API, and every status fits the CRD."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest
import yaml

import seedbed
from seedbed_api.conditions import AttemptReason, FailedReason
from support.runs.command_line import Scene

ROOT = Path(__file__).parents[3]
PACKAGE = Path(seedbed.__path__[0])
TRAININGS = ("driver", "pods", "sweeps")
"""Packages of what has a status; building, comparing and replaying have none."""
OTHER_COMMANDS = {
    "dataset/split_assignment.py",  # a training assigns as the dataset says, which was built with valid options
    "dataset/version_tags.py",  # its writer
    "receipts/receipt_store.py",
    "receipts/signature_store.py",  # a run reads a policy of signatures before it begins
    "receipts/identity_signatures.py",  # the same
    "runs/exactly_once.py",
    "runs/ledger.py",  # its reader; a training that begins with a stored prefix passes a damaged one over
}


def raised(source: Path) -> Iterator[str]:
    """Yield the reasons that stand in a module's calls of UserError, InfrastructureError and their subclasses."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = getattr(node.func, "id", None) or getattr(node.func, "attr", "")
        if name in {"UserError", "InfrastructureError"} or name == "__init__":
            yield str(node.args[0].value)


def imported(source: Path) -> Iterator[str]:
    """Yield what a module imports, whether at its head or in a function: names of modules, and of what is in them."""
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{each.name}" for each in node.names))


def modules_of_trainings() -> set[Path]:
    """Return the modules that trainings and sweeps can come by."""
    sources = {
        ".".join(("seedbed", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): path
        for path in PACKAGE.rglob("*.py")
    }
    left = [name for name in sources if name.split(".")[1:2] and name.split(".")[1] in TRAININGS]
    found: set[str] = set()
    while left:
        name = left.pop()
        if name in sources and name not in found:
            found.add(name)
            left += imported(sources[name])
    return {sources[name] for name in found} - {PACKAGE / name for name in OTHER_COMMANDS}


def test_modules_of_other_commands_exist() -> None:
    assert all((PACKAGE / name).exists() for name in OTHER_COMMANDS)


def test_trainings_come_by_readers_and_not_by_builders_of_datasets() -> None:
    names = {path.relative_to(PACKAGE).as_posix() for path in modules_of_trainings()}
    assert {"training/worker.py", "dataset/reader.py", "storage/remote_storage.py"} <= names
    assert not {"dataset/builder.py", "replay/verification.py", "cli/run.py"} & names


def test_every_reason_of_a_training_is_a_word_of_the_api() -> None:
    known = {*FailedReason, *AttemptReason}
    found = {(source.name, reason) for source in modules_of_trainings() for reason in raised(source)}
    assert len(found) > 30, "the search finds nothing"
    assert {(source, reason) for source, reason in found if reason not in known} == set()


def test_an_unknown_reason_would_be_found(tmp_path: Path) -> None:
    (tmp_path / "x.py").write_text('raise UserError("NewReason", "message")')
    assert list(raised(tmp_path / "x.py")) == ["NewReason"]


@pytest.fixture(scope="module")
def status_schema() -> jsonschema.Draft202012Validator:
    definition = yaml.safe_load((ROOT / "crds/trainingjobs.yaml").read_text(encoding="utf-8"))
    (version,) = definition["spec"]["versions"]
    schema = version["schema"]["openAPIV3Schema"]["properties"]["status"]
    return jsonschema.Draft202012Validator(_closed(schema))


def _closed(schema: object) -> object:
    """Forbid what the API server would prune: a misspelt field must not pass."""
    if isinstance(schema, list):
        return [_closed(entry) for entry in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {name: _closed(entry) for name, entry in schema.items()}
    return closed | {"additionalProperties": False} if "properties" in schema and "type" in schema else closed


@pytest.mark.parametrize(
    ("changes", "words", "code"),
    [
        ({}, (), 0),
        ({"training__steps": "six"}, (), 2),
        ({"dataset__uri": "/nowhere"}, (), 2),
        ({"training__optimizer": {"type": "SGD", "learningRate": "1000", "weightDecay": "1000"}}, (), 2),
        ({"training__epoch": 1, "training__step": 2}, (), 2),
        ({}, ("--workers", "none"), 2),
    ],
    ids=["trained", "refused", "no dataset", "not finite", "two mistakes", "mistyped workers"],
)
def test_stdout_holds_one_status_that_fits_the_definition(
    scene: Scene,
    status_schema: jsonschema.Draft202012Validator,
    changes: dict[str, object],
    words: tuple[str, ...],
    code: int,
) -> None:
    if "training__optimizer" in changes:
        changes = changes | {"training__steps": 40}
    scene.job(**changes)
    answer = scene.run("-o", "json", *words)
    assert answer.exit_code == code
    assert [error.message for error in status_schema.iter_errors(answer.status)] == []
    assert answer.status["conditions"]


def test_a_misspelt_field_of_the_status_would_be_found(
    status_schema: jsonschema.Draft202012Validator,
) -> None:
    assert list(status_schema.iter_errors({"runId": "sha256:0"}))
    assert list(status_schema.iter_errors({"progress": {"steps": 1}}))


def test_what_user_code_prints_is_no_status(scene: Scene) -> None:
    source = """
import os, sys
from torch import nn
class Net:
    def build(self, args):
        os.write(1, b"from a library\\n")
        return nn.Sequential(nn.Flatten(), nn.Linear(12 * 12 * 3, int(args["classes"])))
"""
    scene.job(model={"entrypoint": "mine:Net"})
    answer = scene.run("-o", "json", "--code", scene.code(source))
    assert answer.status["model"]
    assert "from a library" in answer.stderr
