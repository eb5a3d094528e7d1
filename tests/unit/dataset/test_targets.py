"""Targets of rows: one encoding for one meaning, and bad cells named by row, column, value and fix."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.arithmetic.target_counts import NUMBER_LIMIT
from seedbed.dataset import targets as targets_module
from seedbed.dataset.builder import BuildOptions
from seedbed.dataset.dataset_digest import row_digest
from seedbed.dataset.extension import extend_dataset
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.targets import (
    MULTI_LABEL,
    REGRESSION,
    BadTargetError,
    TargetColumns,
    decode_targets,
    encode_target,
    target_counts,
    target_problem,
)
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, png, write_files

LABELS = TargetColumns(task=MULTI_LABEL, columns=("labels",))
FLAGS = TargetColumns(task=MULTI_LABEL, columns=("b", "a"), flags=True)
NUMBERS = TargetColumns(task=REGRESSION, columns=("height", "width"))


@given(st.lists(st.sets(st.sampled_from("abcdef")), min_size=1))
def test_labels_come_back_in_any_order_of_writing(rows) -> None:
    texts = [LABELS.text(["|".join(sorted(labels, reverse=True))]) for labels in rows]
    assert texts == [LABELS.text([sorted(labels)]) for labels in rows]
    names = LABELS.names(texts)
    index = {name: at for at, name in enumerate(names)}
    targets = [encode_target(MULTI_LABEL, text, index) for text in texts]
    decoded = decode_targets(MULTI_LABEL, targets, len(names))
    assert [{names[at] for at in np.flatnonzero(row)} for row in decoded] == rows
    assert target_counts(MULTI_LABEL, targets, len(names)).tolist() == decoded.sum(axis=0).tolist()
    assert not any(target_problem(MULTI_LABEL, target, len(names)) for target in targets)


@given(st.lists(st.floats(-(2.0**40), 2.0**40), min_size=2, max_size=2))
def test_numbers_keep_every_bit_but_the_sign_of_zero(values) -> None:
    targets = [
        encode_target(REGRESSION, NUMBERS.text(cells), {}) for cells in (values, list(map(repr, values)))
    ]
    assert targets[0] == targets[1] == np.array([value + 0.0 for value in values], "<f8").tobytes()
    assert decode_targets(REGRESSION, targets[:1], 2).tolist() == [values]
    assert target_problem(REGRESSION, targets[0], 2) is None


@pytest.mark.parametrize("task", [MULTI_LABEL, REGRESSION])
def test_decoded_targets_are_an_array_of_their_own(task: str) -> None:
    """Memory that may be written to: torch warns of other arrays, and writes to them all the same."""
    decoded = decode_targets(task, [b"\0" * 8 if task == REGRESSION else b""] * 2, 1)
    assert decoded.flags.writeable
    assert decoded.flags.owndata


@pytest.mark.parametrize(
    ("columns", "cells", "line"),
    {
        "beyond the scores": (
            NUMBERS, ["-1.1e12", "1"], "bad-number: column 'height' holds '-1.1e12'; numbers have"
        ),
        "not a number": (NUMBERS, ["nan", "1"], "bad-number: column 'height' holds 'nan'; write a finite"),
        "a float that is none": (NUMBERS, [1.0, float("nan")], "column 'width' holds 'nan'"),
        "infinite": (NUMBERS, ["1", "-inf"], "column 'width' holds '-inf'"),
        "too large for float64": (NUMBERS, ["1e999", "1"], "column 'height' holds '1e999'"),
        "nothing": (NUMBERS, ["1", " "], "column 'width' holds nothing"),
        "a comma for the point": (NUMBERS, ["1,5", "1"], "column 'height' holds '1,5'"),
        "digits of another script": (NUMBERS, ["\u0661\u0662", "1"], "column 'height' holds"),
        "underscores": (NUMBERS, ["1_000", "1"], "column 'height' holds '1_000'"),
        "a truth value": (NUMBERS, [True, "1"], "column 'height' holds 'True'"),
        "an empty label": (LABELS, ["a||b"], "bad-label: column 'labels' holds 'a||b', with an empty label"),
        "a number with a point for labels": (LABELS, [1.5], "column 'labels' holds 1.5, not labels"),
        "a flag of 2": (FLAGS, ["1", "2"], "bad-label: column 'a' holds '2'; write 0 or 1"),
        "a missing flag": (FLAGS, ["", "1"], "column 'b' holds nothing; write 0 or 1"),
    }.values(),
)  # fmt: skip
def test_bad_cells_are_named(columns: TargetColumns, cells: list[object], line: str) -> None:
    with pytest.raises(BadTargetError) as caught:
        columns.text(cells)
    assert line in str(caught.value)


@pytest.mark.parametrize(
    ("task", "target", "problem"),
    [
        (MULTI_LABEL, np.array([2, 1], "<i4").tobytes(), "not ascending"),
        (MULTI_LABEL, np.array([1, 1], "<i4").tobytes(), "not ascending"),
        (MULTI_LABEL, np.array([3], "<i4").tobytes(), "not of 3"),
        (MULTI_LABEL, b"123", "no multiple of 4"),
        (REGRESSION, np.array([1.0], "<f8").tobytes(), "8 bytes instead of 24"),
        (REGRESSION, np.array([1.0, np.nan, 0], "<f8").tobytes(), "not finite"),
        (REGRESSION, np.array([1.0, -0.0, 0], "<f8").tobytes(), "-0.0"),
    ],
)
def test_stored_targets_that_no_build_writes_are_refused(task: str, target: bytes, problem: str) -> None:
    assert problem in str(target_problem(task, target, 3))


def table(folder: Path, header: str, rows: list[str]) -> Path:
    write_files(folder, {f"{number}.png": png(number) for number in range(len(rows))})
    lines = [f"image,{header}", *(f"{number}.png,{row}" for number, row in enumerate(rows))]
    return write_files(folder, {"t.csv": "\n".join(lines).encode()})


TAGS = ["red|blue", "", "green", "blue|green|red", "red", "blue"] * 4
FLAGGED = [",".join(str(int(name in row.split("|"))) for name in ("red", "green", "blue")) for row in TAGS]


def test_labels_and_flags_are_one_dataset_whose_digest_commits_to_every_target(tmp_path: Path) -> None:
    tags = table(tmp_path / "tags", "labels", TAGS)
    flags = table(tmp_path / "flags", "red,green,blue", FLAGGED)
    one = build(tags, tmp_path / "one", csv="t.csv", task=MULTI_LABEL)
    target = ("red", "green", "blue")
    two = build(flags, tmp_path / "two", csv="t.csv", task=MULTI_LABEL, target=target)
    dataset = opened(tmp_path / "one")
    assert one.manifest.digest == two.manifest.digest
    assert (dataset.task, dataset.classes) == (MULTI_LABEL, ("blue", "green", "red"))
    assert check_dataset(dataset) == []
    index = dataset.index(0)
    for at, image in dataset.images(0):
        target = index.target[at]
        head = index.id[at].tobytes() + index.key[at].tobytes() + len(target).to_bytes(4, "little") + target
        assert hashlib.sha256(head + image).digest() == index.digest[at].tobytes()
    other = build(
        table(tmp_path / "other", "labels", ["red|green", *TAGS[1:]]),
        tmp_path / "three", csv="t.csv", task=MULTI_LABEL,
    )  # fmt: skip
    assert other.manifest.digest != one.manifest.digest


def test_a_single_label_row_has_the_digest_of_before() -> None:
    plain = hashlib.sha256(b"i" * 32 + b"k" * 32 + (7).to_bytes(4, "little") + b"image").digest()
    assert row_digest(row_id=b"i" * 32, key=b"k" * 32, label=7, image=b"image") == plain


def test_a_dataset_of_numbers_grows_and_keeps_its_rows(tmp_path: Path) -> None:
    rows = [f"{n / 7!r},{-n}" for n in range(20)]
    source = table(tmp_path / "src", "height,width", rows[:12])
    options = {"csv": "t.csv", "task": REGRESSION, "target": ("height", "width")}
    first = build(source, tmp_path / "ds", **options)
    again = build(table(tmp_path / "src", "height,width", rows), tmp_path / "ds", append=True, **options)
    grown = opened(tmp_path / "ds")
    assert (again.outcome, again.manifest.parent) == ("extended", first.manifest.digest)
    found = {value for n in range(len(grown.manifest.shards)) for value in grown.index(n).target}
    assert found == {np.array([n / 7, -n + 0.0], "<f8").tobytes() for n in range(20)}
    assert check_dataset(grown) == []


@pytest.mark.parametrize(
    ("options", "line"),
    {
        "no table": ({"csv": None}, "--task: add --csv FILE with a line for each image"),
        "no columns": ({"target": ()}, "--task: name the columns of the numbers"),
        "a column of another use": ({"target": ("image",)}, "--target: is the column of something else"),
        "a column twice": ({"target": ("height", "height")}, "--target: is given more than once"),
        "a column that is not there": ({"target": ("Height",)}, "column 'Height' is missing"),
        "an order of the columns": ({"classes": ("width", "height")}, "--classes: leave it away: the outputs are the columns of --target"),
        "an order of the labels": ({"task": MULTI_LABEL, "target": (), "classes": ("b", "a")}, "--classes: leave it away: the outputs are the labels by code"),
        "a column of classes": ({"label_column": "kind"}, "--label-column: does not go with --task regression (got 'kind'); write --target kind"),
        "targets of single-label": ({"task": "single-label"}, "does not go with --task single-label"),
        "a row with NaN": ({}, "3.png (bad-number)"),
    }.values(),
)  # fmt: skip
def test_bad_tables_are_one_line(tmp_path: Path, options: dict, line: str) -> None:
    source = table(tmp_path / "src", "height", ["1", "2", "3", "nan", "5"])
    chosen = {"csv": "t.csv", "task": REGRESSION, "target": ("height",)} | options
    with pytest.raises(UserError) as caught:
        build(source, tmp_path / "ds", **chosen)
    field, _, rest = line.partition(": ") if line.startswith("--") else ("", "", line)
    assert field in caught.value.message
    assert rest in caught.value.message
    assert "\n" not in caught.value.message
    assert not (tmp_path / "ds").exists()


@pytest.mark.parametrize("task", [MULTI_LABEL, REGRESSION])
def test_an_extension_cannot_name_the_outputs_anew(tmp_path: Path, task: str) -> None:
    columns = ("red", "green")
    source = table(tmp_path / "src", "red,green", ["0,1", "1,0", "1,1"] * 4)
    first = build(source, tmp_path / "ds", csv="t.csv", task=task, target=columns)
    more = table(tmp_path / "more", "red,green", ["0,1"] * 20)
    options = BuildOptions(csv="t.csv", target=columns, classes=("red", "green", "blue"), parallelism=1)
    with pytest.raises(UserError, match=f"--classes: does not go with --task {task}"):
        extend_dataset(open_storage(str(more)), open_storage(str(tmp_path / "ds")), options=options)
    assert opened(tmp_path / "ds").digest == first.manifest.digest
    assert check_dataset(opened(tmp_path / "ds")) == []


@pytest.mark.parametrize("cells", [["0", "1"], ["1", ""], ["true", "false"]])
def test_one_column_of_0_and_1_is_no_list_of_labels(tmp_path: Path, cells: list[str]) -> None:
    source = table(tmp_path / "src", "cat", cells * 6)
    with pytest.raises(UserError, match=r"--target: holds 0 or 1 in each row.*--label-column cat"):
        build(source, tmp_path / "ds", csv="t.csv", task=MULTI_LABEL, target=("cat",))
    several = table(tmp_path / "several", "cat", ["0|1", "0", "1"] * 6)
    built = build(several, tmp_path / "ds", csv="t.csv", task=MULTI_LABEL, target=("cat",))
    assert built.manifest.classes == ("0", "1")


def test_the_report_names_row_and_column(tmp_path: Path) -> None:
    source = table(tmp_path / "src", "height", ["1", "2", "nan", "4", "5"])
    result = build(
        source, tmp_path / "ds", csv="t.csv", task=REGRESSION, target=("height",), on_error="skip"
    )  # fmt: skip
    (refused,) = result.report.document()["refused"]["files"]
    assert refused["detail"].startswith("row 3: column 'height' holds 'nan'")


def test_another_task_than_that_of_the_dataset_is_refused(tmp_path: Path) -> None:
    source = table(tmp_path / "src", "labels,height", [f"a,{n}" for n in range(6)])
    build(source, tmp_path / "ds", csv="t.csv", task=MULTI_LABEL)
    with pytest.raises(UserError, match="--task") as caught:
        build(source, tmp_path / "ds", csv="t.csv", task=REGRESSION, target=("height",), append=True)
    assert caught.value.message.endswith("write --task multi-label")


def test_manifests_of_single_label_have_no_task(tmp_path: Path) -> None:
    source = table(tmp_path / "src", "label", ["a", "b"] * 6)
    build(source, tmp_path / "ds", csv="t.csv")
    assert "task" not in json.loads((tmp_path / "ds" / "manifest.json").read_text())


def test_the_largest_number_is_the_largest_that_scores_hold() -> None:
    assert targets_module._LARGEST == NUMBER_LIMIT
