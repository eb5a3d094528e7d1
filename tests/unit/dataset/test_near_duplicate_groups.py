"""A source grouped by near-duplicates builds to a dataset without leakage."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from PIL import Image

from seedbed.dataset.near_duplicate_groups import SourceGroups, group_source
from seedbed.dataset.row_statistics import measure_dataset
from seedbed.dataset.statistics_report import statistics_document
from seedbed.images.image_decoder import decode
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, write_files
from support.datasets.small_datasets import photo


def a_source(folder: Path, *, copies: int) -> Path:
    """Write a photo per class and number, and recompressed copies of each."""
    files = {}
    for number in range(12):
        name = "cat" if number % 2 else "dog"
        original = photo(number, width=160, height=128)
        files[f"{name}/{number}.jpg"] = original
        for copy in range(copies):
            sink = io.BytesIO()
            Image.fromarray(decode(original)).resize((120 - copy, 96 - copy)).save(sink, "JPEG", quality=80)
            files[f"{name}/{number}-{copy}.jpg"] = sink.getvalue()
    return write_files(folder, files)


def grouped(source: Path, **options: object) -> SourceGroups:
    return group_source(open_storage(str(source)), **({"distance": 4, "threads": 2} | options))


def leaked(folder: Path) -> int:
    document = statistics_document(measure_dataset(opened(folder), distance=4), listed=0)
    return sum(pair["rows"] for pair in document["leakage"])


def test_a_build_by_groups_has_no_leakage_and_one_without_has(tmp_path: Path) -> None:
    source = a_source(tmp_path / "source", copies=3)
    found = grouped(source)
    assert (found.files, found.groups, found.grouped_files, found.unreadable) == (48, 12, 48, 0)
    (tmp_path / "groups.csv").write_bytes(found.csv)
    split = "train=0.5,validation=0.25,test=0.25"
    build(source, tmp_path / "plain", split=split)
    build(source, tmp_path / "grouped", split=split, csv=str(tmp_path / "groups.csv"))
    assert leaked(tmp_path / "plain") > 0
    assert leaked(tmp_path / "grouped") == 0
    assert opened(tmp_path / "grouped").manifest.total == 48


def test_names_and_order_of_files_change_no_group(tmp_path: Path) -> None:
    source = a_source(tmp_path / "source", copies=1)
    renamed = tmp_path / "renamed"
    for file in source.rglob("*.jpg"):
        write_files(renamed, {f"{file.parent.name}/{file.stem[::-1]}x.jpg": file.read_bytes()})

    def groups(folder: Path) -> set[tuple[str, str]]:
        rows = csv.DictReader(io.StringIO(grouped(folder).csv.decode()))
        return {(row["group"], row["label"]) for row in rows}

    assert groups(source) == groups(renamed)


def test_named_groups_and_splits_stay_and_bad_files_are_left_to_the_build(tmp_path: Path) -> None:
    source = a_source(tmp_path / "source", copies=0)
    write_files(source, {"cat/broken.jpg": b"no image"})
    lines = [
        "image,label,split,group",
        "cat/1.jpg,cat,test,p1",
        "dog/2.jpg,dog,,p1",
        "cat/broken.jpg,cat,,p2",
    ]
    (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
    found = grouped(source, listing_csv=str(tmp_path / "list.csv"))
    rows = list(csv.DictReader(io.StringIO(found.csv.decode())))
    assert [row["split"] for row in rows] == ["test", "", ""]
    assert rows[0]["group"] == rows[1]["group"] != rows[2]["group"]
    assert (found.groups, found.unreadable) == (1, 1)


def test_a_path_that_csv_cannot_name_is_refused(tmp_path: Path) -> None:
    source = write_files(tmp_path / "source", {"cat/a\nb.jpg": photo(1), "dog/c.jpg": photo(2)})
    with pytest.raises(UserError, match="rename the file"):
        grouped(source)
