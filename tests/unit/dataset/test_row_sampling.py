"""A draw depends on seed and rows alone, and what it writes escapes no folder and no page."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from seedbed.dataset.contact_sheet import html_sheet, png_sheet, write_images
from seedbed.dataset.row_sampling import SampleOptions, sample_rows
from seedbed.images.image_decoder import decode
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, png, two_classes, write_files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_classes(tmp_path_factory.mktemp("sampling") / "source")


@pytest.fixture(scope="module")
def data(source: Path) -> Path:
    build(source, source.with_name("data"))
    return source.with_name("data")


def drawn(folder: Path, **options: object) -> list[str]:
    return [row.id for row in sample_rows(opened(folder), SampleOptions(**({"rows": 6} | options)))]


def test_equal_seeds_draw_equal_rows_whatever_the_shards(source: Path, data: Path, tmp_path: Path) -> None:
    build(source, tmp_path / "whole", shard_bytes=10**6)
    assert drawn(data, seed=5) == drawn(data, seed=5)
    assert sorted(drawn(data, seed=5)) == sorted(drawn(tmp_path / "whole", seed=5))
    assert drawn(data, seed=5) != drawn(data, seed=6)
    assert set(drawn(data, seed=5)) < set(drawn(data, seed=5, rows=12))
    assert len(drawn(data, rows=1000)) == 40


def test_rows_are_of_the_wanted_splits_and_classes(data: Path) -> None:
    rows = list(sample_rows(opened(data), SampleOptions(rows=3, splits=("train",), per_class=True)))
    assert sorted((row.split, row.name) for row in rows) == [("train", "cat")] * 3 + [("train", "dog")] * 3
    some = sample_rows(opened(data), SampleOptions(rows=100, classes=("dog",)))
    assert {row.name for row in some} == {"dog"}
    with pytest.raises(UserError, match="the classes are cat, dog"):
        drawn(data, classes=("bird",))


def test_images_are_written_as_they_are_stored(data: Path, tmp_path: Path) -> None:
    rows = sample_rows(opened(data), SampleOptions(rows=5))
    write_images(open_storage(str(tmp_path / "out")), opened(data), rows, seed=0)
    listed = json.loads((tmp_path / "out/sample.json").read_bytes())["rows"]
    assert len(listed) == 5
    for row in listed:
        assert hashlib.sha256((tmp_path / "out" / row["file"]).read_bytes()).hexdigest() == row["id"]


HOSTILE = ["..", "<script>alert(1)</script>", "x\x1b[31my", ".hidden", "con'\"&", "a" * 200, "猫"]


def test_hostile_class_names_stay_text_within_the_folder(tmp_path: Path) -> None:
    lines = [f'{n}.png,"{name.replace(chr(34), chr(34) * 2)}"' for n, name in enumerate(HOSTILE)]
    source = write_files(tmp_path / "source", {f"{n}.png": png(n) for n in range(len(HOSTILE))})
    (source / "list.csv").write_text("\n".join(["image,label", *lines]) + "\n")
    build(source, tmp_path / "data", csv="list.csv", split="train=1")
    dataset = opened(tmp_path / "data")
    rows = list(sample_rows(dataset, SampleOptions(rows=100)))
    assert {row.name for row in rows} == set(HOSTILE)
    write_images(open_storage(str(tmp_path / "out")), dataset, rows, seed=0)
    folders = {path.name for path in (tmp_path / "out/train").iterdir()}
    assert (len(folders), "猫" in folders) == (len(HOSTILE), True)
    assert not any("\x1b" in name or name.startswith(".") for name in folders)
    page, count = html_sheet(dataset, rows)
    assert count == len(HOSTILE)
    assert b"<script" not in page
    assert b"\x1b" not in page
    sheet, _ = png_sheet(dataset, rows)
    assert decode(sheet).shape[2] == 3
