"""`seedbed validate` takes what kubectl takes, reads the same values, and names the line of what is wrong."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from seedbed.cli.validate import check_file
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import read_documents
from seedbed_api.yaml_documents import found_in, parse, parse_value, read_text
from support.manifests.yaml_documents import (
    PLAIN,
    RATES,
    STEPS,
    SUSPENDED,
    TAKEN,
    every_document,
    with_rate,
    with_steps,
    with_suspend,
)  # fmt: skip

DOCUMENTS = every_document()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_document_is_taken_where_kubectl_takes_it(name: str, tmp_path: Path) -> None:
    text, taken = DOCUMENTS[name]
    path = tmp_path / "odd.yaml"
    path.write_bytes(text.encode())
    assert (check_file(str(path)) == []) is taken, check_file(str(path))


VALUES: list[tuple[str, tuple[str, ...], Any]] = [
    *((with_steps(text), ("training", "steps"), value) for text, value in STEPS.items()),
    *((with_rate(text), ("training", "optimizer", "learningRate"), value) for text, value in RATES.items()),
    *(
        (with_suspend(text), ("suspend",), value)
        for text, value in SUSPENDED.items()
        if text not in ("", "null")
    ),
]


@pytest.mark.parametrize(("text", "path", "value"), [each for each in VALUES if each[2] is not None])
def test_a_value_is_read_as_kubectl_reads_it(text: str, path: tuple[str, ...], value: object) -> None:
    (found,) = found_in(text, "odd.yaml")
    read = found.content["spec"]
    for name in path:
        read = read[name]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize("name", [name for name in TAKEN if "twice" not in name and "tag" not in name])
def test_runs_of_this_machine_read_the_same(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_bytes(TAKEN[name].encode())
    assert read_documents(path) == [
        each.content for each in found_in(TAKEN[name].removeprefix("\ufeff"), "odd")
    ]


@pytest.mark.parametrize("name", [name for name in TAKEN if "twice" in name or "tag" in name])
def test_runs_of_this_machine_refuse_what_a_person_hardly_means(name: str, tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(TAKEN[name])
    with pytest.raises(UserError, match=r"duplicate key|could not determine a constructor"):
        read_documents(path)


def test_a_repeated_key_is_a_warning_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(with_steps("6\n    steps: 7"))
    assert check_file(str(path)) == []
    said = f"warning: {path}:10 steps: appears twice in its block, and the last one counts; remove one\n"
    assert said in capsys.readouterr().err


LINES = {
    "a wrong value": (PLAIN.replace("steps: 6", "steps: x"), "9 spec.training.steps: "),
    "an unknown field": (PLAIN.replace("    seed: 1", "    sed: 1"), "10 spec.training.sed: "),
    "within braces": (
        PLAIN.replace("globalSize", "globalSise"),
        "11 spec.training.batch.globalSise: is not a field",
    ),
    "an entry of a list": (
        PLAIN.replace("size: 32", "size: x"),
        "14 spec.training.augmentation[0].resize.size: ",
    ),
    "a missing field is told at its block": (PLAIN.replace("    steps: 6\n", ""), "8 spec.training: "),
    "a missing block is told at the one around": (
        PLAIN.replace("  output: {uri: s3://runs/x}\n", ""),
        "5 spec.output: ",
    ),
    "the kind": (PLAIN.replace("kind: TrainingJob", "kind: TrainingJbo"), "2 kind: "),
    "no kind is told at the document": ("---\n\n" + PLAIN.replace("kind: TrainingJob\n", ""), "3 kind: "),
    "the second document": (PLAIN + "---\n" + PLAIN.replace("seed: 1", "seed: x"), "27 spec.training.seed: "),
    "an entry of kind List": (
        "apiVersion: v1\nkind: List\nitems:\n- " + PLAIN.replace("seed: 1", "seed: x").replace("\n", "\n  "),
        "13 spec.training.seed: ",
    ),
    "a list of nothing": ("\napiVersion: v1\nkind: List\nitems: []\n", "2 items: "),
    "a document that is none": (PLAIN + "---\n\nhello\n", "19: is a str, not a manifest"),
    "a second document of JSON": (
        '{"kind": "A", "apiVersion": "v1"}\n\n{"kind": "TrainingJob"}',
        "3 apiVersion: is missing",
    ),
    "a syntax error": (PLAIN + "---\na: [\n", ": is no YAML: "),
}


@pytest.mark.parametrize("name", LINES)
def test_a_mistake_is_told_with_its_line(name: str, tmp_path: Path) -> None:
    text, line = LINES[name]
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    mistakes = check_file(str(path))
    place = f"{path}{'' if line.startswith(':') else ':'}{line}"
    assert any(mistake.startswith(place) for mistake in mistakes), mistakes


DEEP = {
    "lists": "[" * 100_000,
    "maps": "{" * 100_000,
    "maps of JSON": '{"a":' * 100_000,
    "blocks": "\n".join(" " * depth + "a:" for depth in range(1_000)),
    "dashes": "- " * 100_000,
    "keys": "? " * 100_000,
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_what_is_nested_too_deep_is_told_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(UserError, match=r"manifest: is no YAML manifest: blocks more than 100 deep; correct"):
        parse(text, "manifest")
    assert time.process_time() - began < 5


def test_a_value_that_is_nested_too_deep_is_text() -> None:
    assert parse_value("[" * 100_000) == "[" * 100_000
    assert parse_value(f"{'[' * 90}1{']' * 90}") != "1"


@pytest.mark.parametrize("read", ["validate", "run"])
def test_no_more_of_an_endless_stdin_is_read_than_a_manifest_has(read: str) -> None:
    command = f"yes 'a: [1]' | {sys.executable} -m seedbed.cli {read} -f -"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 2
    assert done.stderr.endswith("stdin: has more than 3145728 bytes; a manifest is much smaller\n")


def test_no_more_of_an_endless_file_is_read_than_a_manifest_has(tmp_path: Path) -> None:
    huge = tmp_path / "huge.yaml"
    with huge.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(
        UserError, match=r"huge.yaml: has more than 3145728 bytes; a manifest is much smaller"
    ):
        read_text(huge)


def test_a_syntax_error_names_the_line_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(PLAIN + "---\na: [1\nb: 2\n")
    (mistake,) = check_file(str(path))
    assert "at line 19" in mistake
