"""What a manifest may get wrong, and the one line that says so."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import load_training_job

EXAMPLE = Path("examples/digits.yaml")
SMALL = """\
apiVersion: seedbed.dev/v1alpha1
kind: TrainingJob
metadata: {name: small}
spec:
  dataset: {uri: data}
  model: {name: simple-cnn}
  training: {epochs: 1, optimizer: {type: SGD, learningRate: "0.1"}}
  output: {uri: runs}
"""


def refused(text: str) -> str:
    with pytest.raises(UserError) as caught:
        load_training_job(text)
    assert caught.value.reason == "InvalidSpec"
    assert caught.value.exit_code == 2
    return caught.value.message


def test_the_example_loads() -> None:
    job = load_training_job(EXAMPLE)
    assert job.metadata.name == "digits"
    assert job.spec.training.optimizer.learning_rate == "0.1"
    assert job.spec.training.optimizer.weight_decay == "0.0005"
    assert job.spec.training.batch.leaves == 8


SYNTAX = {
    "an empty file": ("\n", "manifest: holds no document; write a manifest into it"),
    "only comments": ("# nothing\n---\n", "manifest: holds no document; write a manifest into it"),
    "a list at the top": (
        "- a\n- b\n",
        "manifest:1: is a list, not a manifest; begin it with apiVersion and kind",
    ),
    "a word at the top": (
        "hello\n",
        "manifest:1: is a str, not a manifest; begin it with apiVersion and kind",
    ),
    "a bracket that is never closed": (
        "kind: [TrainingJob\n",
        "manifest: is no YAML: expected ',' or ']', but got '<stream end>' at line 2, column 1; correct the syntax",
    ),
    "a tab as indentation": (
        "kind: TrainingJob\nspec:\n\ttraining: 1\n",
        "manifest: is no YAML: found character '\\t' that cannot start any token at line 3, column 1; correct the syntax",
    ),
    "a key twice": (
        SMALL + "kind: TrainingJob\n",
        "manifest: is no YAML: duplicate key kind at line 9, column 1; correct the syntax",
    ),
    "two documents": (
        SMALL + "---\n" + SMALL,
        "manifest: holds 2 documents where one TrainingJob is expected; split the file",
    ),
    "a list that holds itself": (
        "kind: &a [*a]\n",
        "manifest: is no YAML manifest: more than 200000 entries, or blocks more than 100 deep; correct the syntax",
    ),
    "aliases that multiply": (
        "a: &a [1,1,1,1,1,1,1,1,1]\n"
        + "".join(f"{n}: &{n} [{','.join(['*' + m] * 9)}]\n" for m, n in pairwise("abcdefghi")),
        "manifest: is no YAML manifest: more than 200000 entries, or blocks more than 100 deep; correct the syntax",
    ),
    "a tag that would run code": (
        "kind: !!python/object/apply:os.system [ls]\n",
        "manifest: is no YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system' at line 1, column 7; correct the syntax",
    ),
}


@pytest.mark.parametrize(("text", "line"), SYNTAX.values(), ids=SYNTAX)
def test_a_file_that_is_no_manifest_is_one_line(text: str, line: str) -> None:
    assert refused(text) == line


FILES = {
    "is not UTF-8": (b"\xff\xfekind", "is not UTF-8 at byte 0; save it as UTF-8"),
    "is far too large": (b"#" * (3 * 2**20 + 1), "has more than 3145728 bytes; a manifest is much smaller"),
    "is empty": (b"", "holds no document; write a manifest into it"),
}


@pytest.mark.parametrize(("content", "line"), FILES.values(), ids=FILES)
def test_a_file_that_cannot_be_read_is_one_line(content: bytes, line: str, tmp_path: Path) -> None:
    path = tmp_path / "job.yaml"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_training_job(path)
    assert caught.value.message == f"{path}: {line}"


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match="cannot be read \\(No such file or directory\\); name a manifest file"
    ):
        load_training_job(tmp_path / "none.yaml")


def test_every_mistake_of_a_document_is_told() -> None:
    text = SMALL.replace("epochs: 1", "epochs: one, sed: 3").replace("simple-cnn", "resnet81")
    assert refused(text).splitlines() == [
        "manifest:1 spec.model.name: must be simple-cnn, resnet18, resnet34, resnet50, torchvision/NAME or timm/NAME"
        " (got 'resnet81'); did you mean resnet18?",
        "manifest:1 spec.training.epochs: must be an integer (got 'one'); write a whole number without quotes",
        "manifest:1 spec.training.sed: is not a field (got 3); did you mean seed?",
    ]


def test_a_number_with_an_exponent_needs_quotes_as_for_the_api_server() -> None:
    line = refused(SMALL.replace('"0.1"', "1e-1"))
    assert (
        line
        == "manifest:1 spec.training.optimizer.learningRate: must be a string (got 0.1); put it in quotes"
    )


def test_a_field_without_value_counts_as_left_out() -> None:
    job = load_training_job(SMALL.replace("epochs: 1", "epochs: 1, seed: ,  steps: "))
    assert job.spec.training.seed == 0
