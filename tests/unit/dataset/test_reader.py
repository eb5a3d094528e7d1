"""Opening: views, folds and subsets, verification of everything that is read, pickling."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.dataset import split_assignment
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from support.datasets.image_files import build, two_classes


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Dataset:
    root = tmp_path_factory.mktemp("opening")
    build(two_classes(root / "source", per_class=150), root / "ds")
    return open_dataset(open_storage(str(root / "ds")))


def rows(dataset: Dataset, **view: object) -> list[int]:
    numbers = dataset.view(**view).row_numbers().tolist()
    assert numbers == sorted(set(numbers))
    assert len(numbers) == dataset.view(**view).count
    return numbers


@pytest.mark.parametrize("count", [2, 3, 7])
def test_folds_cut_train_and_validation_and_never_test(dataset, count) -> None:
    pool = sorted(rows(dataset, split="train") + rows(dataset, split="validation"))
    held_out = []
    for index in range(count):
        train = rows(dataset, fold=(index, count), part="train")
        validation = rows(dataset, fold=(index, count), part="validation")
        assert sorted(train + validation) == pool
        assert abs(len(validation) - len(pool) / count) < 0.5 * len(pool) / count
        assert rows(dataset, split="test", fold=(index, count)) == rows(dataset, split="test")
        assert rows(dataset, split="validation", fold=(index, count)) == validation
        held_out += validation
    assert sorted(held_out) == pool


@settings(deadline=None, max_examples=10)
@given(small=st.integers(1, 99), more=st.integers(0, 50))
def test_smaller_subsets_lie_inside_larger_ones(dataset, small, more) -> None:
    large = min(100, small + more)
    inner, outer = (set(rows(dataset, subset=str(part / 100))) for part in (small, large))
    assert inner <= outer <= set(rows(dataset))
    assert set(rows(dataset, subset="1")) == set(rows(dataset))


def test_split_fold_and_subset_are_drawn_apart(dataset) -> None:
    """A subset that followed the split's hash would hold rows of one end of it only."""
    parts = {
        split: len(rows(dataset, split=split, subset="0.5")) / dataset.manifest.rows(split)
        for split in SPLITS
    }
    assert all(0.2 < part < 0.8 for part in parts.values()), parts
    fold = set(rows(dataset, fold=(0, 2), part="validation"))
    subset = set(rows(dataset, subset="0.5")) | set(rows(dataset, split="validation", subset="0.5"))
    assert 0.3 < len(fold & subset) / len(fold) < 0.7


def test_tags_that_were_equal_would_be_noticed(dataset, monkeypatch) -> None:
    honest = split_assignment._position
    monkeypatch.setattr(split_assignment, "_position", lambda _tag, key: honest(b"split", key))
    with pytest.raises(AssertionError):
        test_split_fold_and_subset_are_drawn_apart(dataset)


@pytest.mark.parametrize("text", ["0", "-0.1", "1.1", "half", "nan", "1/0"])
def test_a_subset_is_a_fraction(dataset, text) -> None:
    with pytest.raises(UserError, match=r"dataset\.subset\.fraction"):
        dataset.view(subset=text)


@pytest.mark.parametrize("fold", [(0, 1), (3, 3), (-1, 3)])
def test_a_fold_exists(dataset, fold) -> None:
    with pytest.raises(UserError, match=r"dataset\.fold"):
        dataset.view(fold=fold)


def test_a_dataset_survives_pickling_without_its_indices(dataset) -> None:
    dataset.index(0)
    again = pickle.loads(pickle.dumps(dataset))
    assert (again.manifest, again.digest, again.storage) == (
        dataset.manifest,
        dataset.digest,
        dataset.storage,
    )
    assert len(pickle.dumps(dataset)) == len(pickle.dumps(again))
    assert np.array_equal(again.index(0).id, dataset.index(0).id)


def test_few_indices_stay_in_memory(dataset) -> None:
    for number in range(len(dataset.manifest.shards)):
        dataset.index(number)
    assert len(dataset.manifest.shards) > 16 >= len(dataset._indices)
    assert dataset.index(0) is dataset.index(0)


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_a_batch_is_verified(tmp_path) -> None:
    shard = build(two_classes(tmp_path / "source"), tmp_path / "ds").manifest.shards[1]
    dataset = open_dataset(open_storage(str(tmp_path / "ds")))
    path = tmp_path / "ds" / shard.path
    flip(path, shard.batches[1].offset + 200)
    dataset.read_batch(1, 0)
    with pytest.raises(UserError, match=f"batch 1 of shard {shard.path} differs"):
        dataset.read_batch(1, 1)
    path.write_bytes(path.read_bytes()[: shard.batches[1].offset + 10])
    with pytest.raises(UserError, match="batch 1"):
        dataset.read_batch(1, 1)
    path.unlink()
    with pytest.raises(UserError, match="batch 0"):
        dataset.read_batch(1, 0)


@pytest.mark.parametrize(
    ("damage", "said"),
    [(lambda path: flip(path, 300), "differs from the manifest"), (Path.unlink, "is missing")],
    ids=["a flipped bit", "no file"],
)
def test_an_index_is_verified(damage: Callable[[Path], None], said: str, tmp_path) -> None:
    shard = build(two_classes(tmp_path / "source"), tmp_path / "ds").manifest.shards[0]
    damage(tmp_path / "ds" / shard.index_path)
    with pytest.raises(UserError, match=said) as caught:
        open_dataset(open_storage(str(tmp_path / "ds"))).index(0)
    assert caught.value.reason == "InvalidDataset"


def test_a_missing_dataset_and_another_digest_have_their_own_reasons(tmp_path) -> None:
    with pytest.raises(UserError) as caught:
        open_dataset(open_storage(str(tmp_path / "nothing")))
    assert caught.value.reason == "InvalidDataset"
    digest = build(two_classes(tmp_path / "source"), tmp_path / "ds").manifest.digest
    assert open_dataset(open_storage(str(tmp_path / "ds")), digest=digest).digest == digest
    with pytest.raises(UserError) as caught:
        open_dataset(open_storage(str(tmp_path / "ds")), digest="sha256:" + "0" * 64)
    assert caught.value.reason == "DatasetChanged"


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("ds.zip", ["is a file, not a folder", "unpacked if it is an archive", "seedbed dataset build"]),
        ("notes.txt", ["is a file, not a folder", "seedbed dataset build"]),
        ("ds/manifest.json", ["is a file, not a folder", "give the folder that holds it: file://"]),
        ("source", ["there is no dataset here", "seedbed dataset build"]),
        ("nothing", ["there is no dataset here", "manifest.json is missing"]),
    ],
)
def test_what_is_no_dataset_says_what_to_give(uri: str, says: list[str], tmp_path) -> None:
    build(two_classes(tmp_path / "source"), tmp_path / "ds")
    (tmp_path / "ds.zip").write_bytes(b"PK")
    (tmp_path / "notes.txt").write_bytes(b"hello")
    with pytest.raises(UserError) as caught:
        open_dataset(open_storage(str(tmp_path / uri)))
    assert [words for words in says if words not in caught.value.message] == [], caught.value.message
