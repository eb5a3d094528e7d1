"""What differs between two datasets, and what an extension adds: exactly the rows of the oracle."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from seedbed.dataset.builder import BuildOptions
from seedbed.dataset.comparison import KINDS, compare_datasets
from seedbed.dataset.extension import extend_dataset
from seedbed.dataset.row_sampling import SampleOptions, sample_rows
from seedbed.dataset.row_statistics import measure_dataset
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, opened, png, two_classes, write_files


def counts(a: Path, b: Path, **options: object) -> dict[str, int]:
    """Return what differs, without zeros."""
    found = compare_datasets(opened(a), opened(b), **options)
    return {kind: found.counts[kind] for kind in KINDS if found.counts[kind]} | {"same": found.same_rows}


def add(source: Path, dest: Path, **options: object) -> str:
    """Extend a dataset and return its digest."""
    wanted = BuildOptions(**({"parallelism": 1, "shard_bytes": 2_000, "batch_bytes": 500} | options))
    extended = extend_dataset(open_storage(str(source)), open_storage(str(dest)), options=wanted)
    return extended.result.manifest.digest


def copied(folder: Path, name: str) -> Path:
    return Path(shutil.copytree(folder, folder.with_name(name)))


@pytest.mark.parametrize("per_class", [1, 3, 25])
def test_an_extension_differs_from_its_parent_by_exactly_the_added_rows(
    tmp_path: Path, per_class: int
) -> None:
    source = two_classes(tmp_path / "source")
    build(source, tmp_path / "old")
    new = copied(tmp_path / "old", "new")
    more = two_classes(tmp_path / "more", per_class=per_class, first_seed=5000)
    shutil.copy(source / "cat/0.png", more / "cat/known.png")
    add(more, new)

    found = compare_datasets(opened(tmp_path / "old"), opened(new), listed=1000)
    added = {hashlib.sha256(file.read_bytes()).hexdigest() for file in more.rglob("*.png")}
    known = {hashlib.sha256(file.read_bytes()).hexdigest() for file in source.rglob("*.png")}
    assert {row["b"]["id"] for row in found.listed["added"]} == added - known
    assert (found.counts.total(), found.same_rows) == (2 * per_class, 40)
    back = compare_datasets(opened(new), opened(tmp_path / "old"), listed=1000)
    assert {row["a"]["id"] for row in back.listed["removed"]} == added - known


def test_an_extension_keeps_each_shard_and_is_one_function_of_parent_and_rows(tmp_path: Path) -> None:
    """File names, their order, and files that are there already change nothing; no old shard is written."""
    source = two_classes(tmp_path / "source")
    build(source, tmp_path / "one")
    two = copied(tmp_path / "one", "two")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "one/shards").iterdir()}
    more = two_classes(tmp_path / "more", per_class=6, first_seed=900)
    digest = add(more, tmp_path / "one")
    renamed = tmp_path / "renamed"
    for file in more.rglob("*.png"):
        write_files(renamed, {f"{file.parent.name}/z{99 - int(file.stem)}.png": file.read_bytes()})
    shutil.copy(source / "dog/1.png", renamed / "dog/known.png")
    assert add(renamed, two) == digest
    assert before.items() <= {p: p.stat().st_mtime_ns for p in (tmp_path / "one/shards").iterdir()}.items()
    assert add(more, tmp_path / "one") == digest
    assert opened(tmp_path / "one").manifest.version == 2


def test_a_new_class_gets_the_next_label_or_is_refused(tmp_path: Path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "data")
    more = write_files(tmp_path / "more", {"ant/1.png": png(7001), "ant/2.png": png(7002)})
    with pytest.raises(UserError, match=r"UnknownClass|no class 'ant'"):
        add(more, tmp_path / "data", new_classes="refuse")
    add(more, tmp_path / "data")
    assert opened(tmp_path / "data").classes == ("cat", "dog", "ant")


def test_every_kind_of_difference_is_told_apart(tmp_path: Path) -> None:
    """One dataset by CSV with groups, and others with one change each."""
    source = write_files(tmp_path / "source", {f"{n}.png": png(n) for n in range(30)})
    lines = {
        n: f"{n}.png,{'cat' if n % 2 else 'dog'},{'test' if n % 5 == 0 else 'train'},g{n // 2}"
        for n in range(30)
    }

    def dataset(name: str, changes: dict[int, str | None], **options: object) -> Path:
        rows = [line for line in (lines | changes).values() if line is not None]
        (source / f"{name}.csv").write_text("\n".join(["image,label,split,group", *rows]) + "\n")
        build(source, tmp_path / name, csv=f"{name}.csv", **options)
        return tmp_path / name

    old = dataset("old", {})
    assert counts(old, dataset("equal", {})) == {"same": 30}
    assert counts(old, dataset("without", {3: None})) == {"removed": 1, "same": 29}
    assert counts(old, dataset("relabelled", {3: "3.png,dog,train,g1"})) == {"relabelled": 1, "same": 29}
    assert counts(old, dataset("moved", {3: "3.png,cat,test,g1"})) == {"moved": 1, "same": 29}
    assert counts(old, dataset("regrouped", {3: "3.png,cat,train,g77"})) == {"regrouped": 1, "same": 29}
    both = dataset("both", {3: "3.png,dog,test,g9"})
    assert counts(old, both) == {"relabelled": 1, "moved": 1, "regrouped": 1, "same": 29}
    more_classes = dataset("renumbered", {3: "3.png,ant,train,g1"})
    assert counts(old, more_classes) == {"relabelled": 1, "same": 29}
    resized = dataset("resized", {}, image_size=4)
    assert counts(old, resized) == {"changed": 30, "same": 0}
    assert counts(resized, dataset("resized-renumbered", {3: "3.png,ant,train,g1"}, image_size=4)) == {
        "relabelled": 1,
        "same": 29,
    }


def test_another_picture_of_a_group_of_one_is_a_change_of_that_row(tmp_path: Path) -> None:
    source = write_files(tmp_path / "source", {f"{n}.png": png(n) for n in range(12)})
    for name, first in (("old", 0), ("new", 11)):
        rows = [f"{n or first}.png,{'cat' if n % 2 else 'dog'},p{n}" for n in range(11)]
        (source / f"{name}.csv").write_text("\n".join(["image,label,group", *rows]) + "\n")
        build(source, tmp_path / name, csv=f"{name}.csv")
    assert counts(tmp_path / "old", tmp_path / "new") == {"changed": 1, "same": 10}
    (row,) = compare_datasets(opened(tmp_path / "old"), opened(tmp_path / "new")).listed["changed"]
    assert [row[side]["id"] for side in "ab"] == [hashlib.sha256(png(n)).hexdigest() for n in (0, 11)]


def test_equal_rows_in_other_shards_are_no_difference_of_rows(tmp_path: Path) -> None:
    source = two_classes(tmp_path / "source")
    build(source, tmp_path / "a")
    build(source, tmp_path / "b", shard_bytes=900)
    found = compare_datasets(opened(tmp_path / "a"), opened(tmp_path / "b"))
    assert (found.equal, found.counts.total(), found.same_rows) == (False, 0, 40)


def test_a_tampered_shard_or_index_is_refused_by_name(tmp_path: Path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "a")
    build(two_classes(tmp_path / "other", first_seed=300), tmp_path / "b")
    for pattern, options in (
        ("*.index.arrow", {}),
        ("train-?????-????????????????.arrow", {"check_images": True}),
    ):
        damaged = copied(tmp_path / "b", f"b-{len(pattern)}")
        file = sorted((damaged / "shards").glob(pattern))[0]
        file.chmod(0o644)
        data = bytearray(file.read_bytes())
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        with pytest.raises(UserError, match=file.name) as refused:
            compare_datasets(opened(tmp_path / "a"), opened(damaged), **options)
        assert refused.value.reason == "InvalidDataset"


def test_a_dataset_of_another_task_is_refused_and_not_miscounted(tmp_path: Path) -> None:
    """Its rows have targets instead of labels: a new target would look like other bytes."""
    build(two_classes(tmp_path / "source"), tmp_path / "data")
    dataset = opened(tmp_path / "data")
    dataset.manifest = replace(dataset.manifest, task="multi-label")
    for work in (
        lambda: compare_datasets(dataset, opened(tmp_path / "data")),
        lambda: measure_dataset(dataset, distance=3),
        lambda: list(sample_rows(dataset, SampleOptions(rows=1))),
    ):
        with pytest.raises(UserError, match="its task is multi-label"):
            work()
