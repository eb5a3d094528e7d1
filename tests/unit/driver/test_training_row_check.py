"""A class that split, fold or subset leaves without training rows is named, with the field that does it."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seedbed.dataset import Dataset, open_dataset
from seedbed.dataset.split_assignment import fold_of, group_key, in_subset
from seedbed.driver.training_row_check import count_training_rows
from seedbed.storage import open_storage
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import training_job
from seedbed_api.trainingjob import TrainingJob
from support.datasets.image_files import build, png, write_files
from support.runs.command_line import spec

FOLDS, HALF = 3, Fraction(1, 2)


def groups(*, fold: int, subset: bool) -> Iterator[str]:
    """Yield names of groups that lie in a fold of three, and in the half of the rows or not."""
    keys = ((name, group_key(name)) for name in (f"patient {number}" for number in count()))
    return (name for name, key in keys if fold_of(key, FOLDS) == fold and in_subset(key, HALF) == subset)


def dataset(folder: Path, *rare: tuple[str, str]) -> Dataset:
    """Two classes that lie everywhere, and the class `rare` with images of these (split, group)."""
    everywhere = [
        (split, group)
        for split in ("train", "validation", "test")
        for fold in range(FOLDS)
        for subset in (True, False)
        for group in islice(groups(fold=fold, subset=subset), 2)
    ]
    lines, files = ["image,label,split,group"], {}
    for label, places in (("cat", everywhere), ("dog", everywhere), ("rare", rare)):
        for number, (split, group) in enumerate(places):
            name = f"{label}/{number}.png"
            files[name] = png(len(files))
            lines.append(f"{name},{label},{split},{group}")
    source = write_files(folder / "source", files | {"rows.csv": "\n".join(lines).encode()})
    build(source, folder / "data", csv="rows.csv")
    return open_dataset(open_storage(str(folder / "data")))


def job(data: Dataset, **fields: Any) -> TrainingJob:
    block = {"uri": data.storage.url} | fields
    document = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "TrainingJob", "metadata": {"name": "tiny"}}
    return training_job(document | {"spec": spec("d", "runs") | {"dataset": block}})


def of(split: str, *, fold: int = 0, subset: bool = True) -> tuple[str, str]:
    return split, next(groups(fold=fold, subset=subset))


FOLD = {"fold": {"index": 0, "count": FOLDS}}
SUBSET = {"subset": {"fraction": "0.5"}}
EMPTY = {
    "in test alone": ([of("test")], {}, ("spec.dataset.uri", "in split train")),
    "in validation alone": ([of("validation", fold=1)], {}, ("spec.dataset.uri", "in split train")),
    "in test alone, of a fold": ([of("test")], FOLD, ("spec.dataset.uri", "train or validation")),
    "in the fold that is held out": ([of("train"), of("validation")], FOLD, ("spec.dataset.fold", "outside of fold 0")),
    "beside the subset": ([of("train", subset=False)], SUBSET, ("spec.dataset.subset.fraction", "larger subset")),
    "of a fold, beside the subset": ([of("train", fold=1, subset=False)], FOLD | SUBSET, ("spec.dataset.subset.fraction", "in the subset")),
    "in the fold, and beside the subset": ([of("train", subset=False)], FOLD | SUBSET, ("spec.dataset.fold", "held out")),
}  # fmt: skip


@pytest.mark.parametrize("case", EMPTY)
def test_a_class_without_training_rows_is_refused_by_name(case: str, tmp_path: Path) -> None:
    rare, fields, says = EMPTY[case]
    data = dataset(tmp_path, *rare)
    with pytest.raises(UserError) as caught:
        count_training_rows(job(data, **fields), data)
    assert caught.value.reason == "EmptyClass"
    assert "'rare'" in caught.value.message
    assert [words for words in says if words not in caught.value.message] == [], caught.value.message
    assert "\n" not in caught.value.message


def test_a_subset_that_leaves_nothing_leaves_every_class_empty(tmp_path: Path) -> None:
    data = dataset(tmp_path, of("train"))
    with pytest.raises(UserError, match="no training row in the subset, nor have 2 other classes") as caught:
        count_training_rows(job(data, subset={"fraction": "0.0000001"}), data)
    assert caught.value.reason == "EmptyClass"


ENOUGH = {
    "in train": ([of("train")], {}),
    "in train and nowhere else, of a fold": ([of("train", fold=1)], FOLD),
    "in validation, of a fold that trains on it": ([of("validation", fold=2)], FOLD),
    "in the subset": ([of("train", fold=1)], FOLD | SUBSET),
    "the subset of all": ([of("train", subset=False)], {"subset": {"fraction": "1"}}),
}


@pytest.mark.parametrize("case", ENOUGH)
def test_one_row_is_enough_and_evaluation_may_lack_a_class(case: str, tmp_path: Path) -> None:
    rare, fields = ENOUGH[case]
    data = dataset(tmp_path, *rare)
    subset = fields.get("subset", {}).get("fraction")
    fold = (0, FOLDS) if "fold" in fields else None
    assert count_training_rows(job(data, **fields), data) == data.view(subset=subset, fold=fold).count


@pytest.fixture(scope="module")
def counted(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return dataset(tmp_path_factory.mktemp("counted"), of("train"), of("test", fold=1))


@pytest.mark.parametrize("fold", [None, (0, 3), (2, 3)])
@pytest.mark.parametrize("subset", [None, "0.5", "1"])
@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_rows_are_counted_as_views_see_them(
    split: str, subset: str | None, fold: tuple[int, int] | None, counted: Dataset
) -> None:
    data = counted
    labels = np.concatenate([data.index(number).label for number in range(len(data.manifest.shards))])
    rows = data.view(split=split, subset=subset, fold=fold).row_numbers()
    per_class = data.rows_per_class(split=split, subset=subset, fold=fold)
    assert per_class.tolist() == np.bincount(labels[rows], minlength=3).tolist()
