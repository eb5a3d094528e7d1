"""Building: one digest whatever the files, stable splits under growth, every bad source one clear line."""

from __future__ import annotations

import json
import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.dataset import ingest_passes
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, png, two_classes, write_files


def places(dataset: Dataset) -> dict[bytes, tuple[str, str]]:
    """Return split and class of every id."""
    found = {}
    for number, shard in enumerate(dataset.manifest.shards):
        index = dataset.index(number)
        for row_id, label in zip(index.id, index.label, strict=True):
            found[row_id.tobytes()] = (shard.split, dataset.classes[label])
    return found


@pytest.mark.slow
@settings(deadline=None, max_examples=3)
@given(more=st.integers(1, 30), seed=st.integers(10_000, 20_000))
def test_growth_moves_no_old_row(tmp_path_factory, more, seed) -> None:
    require_stable_growth(tmp_path_factory.mktemp("growth"), more=more, seed=seed)


def test_a_split_by_turn_would_be_noticed(tmp_path, monkeypatch) -> None:
    turns = count()
    monkeypatch.setattr(
        ingest_passes, "split_of", lambda _key, _fractions: SPLITS[0 if next(turns) % 3 else 1]
    )
    with pytest.raises(AssertionError):
        require_stable_growth(tmp_path, more=7, seed=10_000)


def require_stable_growth(root: Path, *, more: int, seed: int) -> None:
    source = two_classes(root / "source", per_class=15)
    build(source, root / "ds")
    old = opened(root / "ds")
    before, old_rows = places(old), [old.index(n).id.tobytes() for n in range(len(old.manifest.shards))]
    write_files(source, {f"emu/{n}.png": png(seed + n) for n in range(more)})
    result = build(source, root / "ds", append=True)
    new = opened(root / "ds")
    assert result.outcome == "extended"
    assert (new.manifest.version, new.manifest.parent) == (2, old.digest)
    assert {row_id: places(new)[row_id] for row_id in before} == before
    assert [new.index(n).id.tobytes() for n in range(len(old_rows))] == old_rows
    assert new.manifest.shards[: len(old_rows)] == old.manifest.shards
    assert new.classes == ("cat", "dog", "emu")
    scratch = build(source, root / "scratch").manifest
    assert places(opened(root / "scratch")) == places(new)
    assert scratch.contents == new.manifest.contents
    pinned = open_dataset(open_storage(str(root / "ds")), digest=old.digest)
    assert pinned.manifest == old.manifest


def test_building_twice_says_so_and_another_dataset_is_refused(tmp_path) -> None:
    source, dest = two_classes(tmp_path / "source"), tmp_path / "ds"
    first = build(source, dest)
    stored = {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()}
    for again in (build(source, dest, shard_bytes=7), build(source, dest, append=True)):
        assert (again.outcome, again.manifest) == ("already there", first.manifest)
    for options in ({"image_size": 4}, {"split": "train=0.5,test=0.5"}, {"append": True, "image_size": 4}):
        with pytest.raises(UserError) as caught:
            build(source, dest, **options)
        assert caught.value.reason == "DatasetExists"
    write_files(source, {"cat/new.png": png(99)})
    with pytest.raises(UserError, match="another dataset"):
        build(source, dest)
    assert {path: path.read_bytes() for path in dest.rglob("*") if path.is_file()} == stored


def test_explicit_split_folders_are_respected(tmp_path) -> None:
    files = {
        f"{split}/{name}/{n}.png": png(100 * i + 10 * j + n)
        for i, split in enumerate(("train", "val", "test"))
        for j, name in enumerate(("cat", "dog"))
        for n in range(3)
    }
    build(write_files(tmp_path / "source", files), tmp_path / "ds")
    manifest = opened(tmp_path / "ds").manifest
    assert manifest.counts == dict.fromkeys(SPLITS, (3, 3))


def test_classes_called_train_and_test_among_others_are_classes(tmp_path) -> None:
    files = {
        f"{name}/{n}.png": png(10 * i + n)
        for i, name in enumerate(("train", "bus", "test"))
        for n in range(9)
    }
    build(write_files(tmp_path / "source", files), tmp_path / "ds")
    assert opened(tmp_path / "ds").classes == ("bus", "test", "train")


def csv_source(folder: Path, lines: list[str]) -> Path:
    write_files(folder, {f"pictures/{n}.png": png(n) for n in range(30)})
    return write_files(folder, {"labels.csv": "\n".join(lines).encode()})


def test_a_csv_names_labels_splits_and_groups(tmp_path) -> None:
    lines = ["image,label,split,group"]
    lines += [
        f'pictures/{n}.png,"{"cat, big" if n % 2 else "dog"}",{"test" if n < 4 else ""},g{n // 6}'
        for n in range(30)
    ]
    result = build(csv_source(tmp_path / "source", lines), tmp_path / "ds", csv="labels.csv")
    dataset = opened(tmp_path / "ds")
    assert dataset.classes == ("cat, big", "dog")
    assert result.manifest.counts["test"][0] >= 2
    keys = np.concatenate([dataset.index(n).key for n in range(len(dataset.manifest.shards))])
    assert len(np.unique(keys, axis=0)) == 5


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("pictures/99.png,cat,,", "missing-file"),
        ("/etc/passwd,cat,,", "outside-source"),
        ("../source/pictures/1.png,cat,,", "outside-source"),
        ("ftp://host/1.png,cat,,", "outside-source"),
        (",cat,,", "outside-source"),
        ("pictures/1.png,,,", "no-label"),
        ("pictures/1.png,cat,dev,", "unknown-split"),
    ],
)
def test_a_bad_line_of_a_csv_is_named(line: str, kind: str, tmp_path) -> None:
    lines = [
        "image,label,split,other",
        line,
        *(f"pictures/{n}.png,{'cat' if n % 2 else 'dog'},," for n in range(2, 30)),
    ]
    source = csv_source(tmp_path / "source", lines)
    with pytest.raises(UserError, match=kind):
        build(source, tmp_path / "ds", csv="labels.csv")
    assert not (tmp_path / "ds").exists()
    result = build(source, tmp_path / "ds", csv="labels.csv", on_error="skip")
    assert (result.manifest.total, dict(result.report.refused.counts)) == (28, {kind: 1})


def test_groups_stay_in_one_split_and_one_fold(tmp_path) -> None:
    files = {f"{'cat' if n % 2 else 'dog'}/plant{n % 10}-{n}.png": png(n) for n in range(60)}
    build(write_files(tmp_path / "source", files), tmp_path / "ds", group_by=r"plant(\d+)")
    dataset = opened(tmp_path / "ds")
    splits: dict[bytes, set[str]] = {}
    for number, shard in enumerate(dataset.manifest.shards):
        for key in dataset.index(number).key:
            splits.setdefault(key.tobytes(), set()).add(shard.split)
    assert len(splits) == 10
    assert all(len(found) == 1 for found in splits.values())
    with pytest.raises(UserError, match="no-group"):
        build(tmp_path / "source", tmp_path / "other", group_by="leaf")


def test_equal_bytes_of_one_class_are_kept_once_and_listed(tmp_path) -> None:
    source = write_files(two_classes(tmp_path / "source"), {"cat/copy.png": png(3)})
    result = build(source, tmp_path / "ds")
    assert result.manifest.total == 40
    listed = json.loads((tmp_path / "ds/report.json").read_bytes())["duplicates"]
    assert listed["files"] == [{"path": "cat/copy.png", "kind": "same-bytes", "sameAs": "cat/3.png"}]


def test_a_copy_in_test_leaves_train(tmp_path) -> None:
    files = {
        f"{split}/{c}/{n}.png": png(10 * j + n)
        for split in ("train", "test")
        for j, c in enumerate("ab")
        for n in range(3)
    }
    files |= {f"train/{c}/only{n}.png": png(50 + 10 * j + n) for j, c in enumerate("ab") for n in range(2)}
    result = build(write_files(tmp_path / "source", files), tmp_path / "ds")
    assert result.manifest.counts == {"train": (2, 2), "validation": (0, 0), "test": (3, 3)}


def test_equal_bytes_of_two_classes_are_refused_or_both_left_out(tmp_path) -> None:
    source = write_files(two_classes(tmp_path / "source"), {"dog/copy.png": png(3)})
    with pytest.raises(UserError, match=r"2 of its files are refused.*label-conflict"):
        build(source, tmp_path / "ds")
    result = build(source, tmp_path / "ds", on_error="skip")
    assert (result.manifest.total, dict(result.report.refused.counts)) == (39, {"label-conflict": 2})


def test_equal_bytes_under_another_class_do_not_extend_a_dataset(tmp_path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    more = write_files(tmp_path / "more", {"dog/copy.png": png(3), "dog/new.png": png(5_000)})
    with pytest.raises(UserError, match="label-conflict"):
        build(more, tmp_path / "ds", append=True)


def test_bad_images_are_listed_and_nothing_is_written(tmp_path) -> None:
    bad = {
        "cat/empty.png": b"",
        "cat/cut.png": png(1, height=50)[:300],
        "dog/note.txt": b"hi",
        "loose.png": png(7),
    }
    source = write_files(two_classes(tmp_path / "source"), bad)
    with pytest.raises(UserError) as caught:
        build(source, tmp_path / "ds")
    assert caught.value.reason == "BadImages"
    assert (
        "4 of its files are refused: cat/cut.png (truncated), cat/empty.png (empty-file)"
        in caught.value.message
    )
    assert not (tmp_path / "ds").exists()
    result = build(source, tmp_path / "ds", on_error="skip")
    assert result.manifest.digest == build(two_classes(tmp_path / "clean"), tmp_path / "ds2").manifest.digest
    document = json.loads((tmp_path / "ds/report.json").read_bytes())
    assert {file["path"]: file["kind"] for file in document["refused"]["files"]} == {
        "cat/cut.png": "truncated",
        "cat/empty.png": "empty-file",
        "dog/note.txt": "not-an-image",
        "loose.png": "outside-class-folder",
    }


def test_odd_file_names_are_read_and_shown(tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    names = ["%20.png", "a b#?*[1].png", "-rf.png", "ümlaut.png", "line\nbreak.png", "'\"\\.png"]
    write_files(source, {f"cat/{name}": png(500 + n) for n, name in enumerate(names)})
    Path(os.fsdecode(os.fsencode(source / "cat") + b"/\xff\xfe.png")).write_bytes(b"")
    result = build(source, tmp_path / "ds", on_error="skip")
    assert result.manifest.total == 40 + len(names)
    assert [file["path"] for file in result.report.refused.files] == ["cat/\\udcff\\udcfe.png"]


HOPELESS = {
    "no such folder": ({}, {}, "NoImages"),
    "no image": ({"README.md": b"hello"}, {}, "NoImages"),
    "images in no class folder": ({"1.png": png(1), "2.png": png(2)}, {}, "NoClasses"),
    "one image": ({"a/1.png": png(1)}, {}, "TooFewImages"),
    "one class": ({"a/1.png": png(1), "a/2.png": png(2)}, {}, "TooFewClasses"),
    "nothing but bad images": ({"a/1.png": b"", "b/1.png": b""}, {"on_error": "skip"}, "TooFewImages"),
    "a class of bad images": (
        {"a/1.png": b"", "b/1.png": png(1), "c/2.png": png(2)}, {"on_error": "skip", "split": "train=1"}, "EmptyClass",
    ),
    "fractions above 1": ({"a/1.png": png(1)}, {"split": "train=0.8,test=0.3"}, "InvalidSplit"),
    "no train": ({"a/1.png": png(1)}, {"split": "test=1"}, "InvalidSplit"),
    "a split by another name": ({"a/1.png": png(1)}, {"split": "train=0.5,dev=0.5"}, "InvalidSplit"),
    "a broken expression": ({"a/1.png": png(1)}, {"group_by": "("}, "InvalidGroup"),
    "JPEG without a size": ({"a/1.png": png(1)}, {"encoding": "jpeg"}, "InvalidOption"),
    "no such CSV": ({"a/1.png": png(1)}, {"csv": "x.csv"}, "InvalidSource"),
    "a CSV without labels": ({"x.csv": b"image,class\n1.png,a\n"}, {"csv": "x.csv"}, "InvalidSource"),
    "a ragged CSV": ({"x.csv": b"image,label\n1.png\n"}, {"csv": "x.csv"}, "InvalidSource"),
    "nothing to append to": ({"a/1.png": png(1)}, {"append": True}, "InvalidDataset"),
}  # fmt: skip


@pytest.mark.parametrize("case", HOPELESS)
def test_a_hopeless_source_is_one_line_and_writes_nothing(case: str, tmp_path) -> None:
    files, options, reason = HOPELESS[case]
    with pytest.raises(UserError) as caught:
        build(write_files(tmp_path / "source", files), tmp_path / "ds", **options)
    assert caught.value.reason == reason
    assert "\n" not in caught.value.message
    assert not (tmp_path / "ds").exists()


def test_an_empty_class_folder_is_refused_by_name(tmp_path) -> None:
    source = two_classes(tmp_path / "source")
    (source / "emu" / "deeper").mkdir(parents=True)
    with pytest.raises(UserError, match="'emu'") as caught:
        build(source, tmp_path / "ds")
    assert caught.value.reason == "EmptyClass"


def test_a_source_that_changes_between_the_passes_is_refused_and_leaves_no_dataset(
    tmp_path, monkeypatch
) -> None:
    source = two_classes(tmp_path / "source")
    write = ingest_passes.write_shard

    def meddle(task, *, job):
        (source / "dog/3.png").write_bytes(png(12_345))
        return write(task, job=job)

    monkeypatch.setattr("seedbed.dataset.ingest_engine.write_shard", meddle)
    with pytest.raises(UserError, match="changed during the build") as caught:
        build(source, tmp_path / "ds")
    assert caught.value.reason == "SourceChanged"
    assert not (tmp_path / "ds/manifest.json").exists()
    monkeypatch.undo()
    assert build(source, tmp_path / "ds").outcome == "built"
