"""How many rows a run trains on, and that its split, fold and subset leave it some of every class.

A class that no training row belongs to is learned as *never*, which nobody asks for. Validation and test may
lack classes: they are measured as they are, and the few rows of a rare class may well fall on one side.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from seedbed.dataset import Dataset
from seedbed.dataset.file_format import SPLITS
from seedbed_api.errors import UserError, refusal
from seedbed_api.trainingjob import TrainingJob

Fold = tuple[int, int]


def selection_of(job: TrainingJob) -> tuple[str | None, Fold | None]:
    """Return the subset fraction and the fold (index, count) of a job."""
    block = job.spec.dataset
    fold = None if block.fold is None else (block.fold.index, block.fold.count)
    return (None if block.subset is None else block.subset.fraction), fold


def selects_by_key(job: TrainingJob) -> bool:
    """Return whether a job trains on some rows only, chosen by their keys."""
    subset, fold = selection_of(job)
    return fold is not None or (subset is not None and Fraction(subset) != 1)


def count_training_rows(job: TrainingJob, dataset: Dataset) -> int:
    """Return how many rows a job trains on; `UserError` where there are none, or none of some class."""
    subset, fold = selection_of(job)
    counts = dataset.rows_per_class(subset=subset, fold=fold)
    require_every_class(dataset, counts, subset=subset, fold=fold, uri=job.spec.dataset.uri)
    return dataset.view(subset=subset, fold=fold).count


def require_every_class(
    dataset: Dataset,
    counts: npt.NDArray[np.int64],
    *,
    subset: str | None,
    fold: Fold | None,
    uri: str,
) -> None:
    """Raise `EmptyClass` where a class of the dataset has none of the training rows in `counts`.

    It names what leaves the class without: the split, else the fold, else the subset. A dataset that has
    nothing to train on is an `InvalidDataset`.
    """
    pool = ("train",) if fold is None else ("train", "validation")
    if not any(dataset.view(split=split).count for split in pool):
        problem, fix = "there is no training row in it", "build the dataset with a train split"
        raise UserError("InvalidDataset", refusal("spec.dataset.uri", uri, problem, fix))
    there = sum(dataset.rows_per_class(split=split) for split in SPLITS)
    empty = np.flatnonzero((counts == 0) & (there > 0))
    if not len(empty):
        return
    label = int(empty[0])
    field, value, place, fix = _cause(dataset, label, pool=pool, subset=subset, fold=fold, uri=uri)
    more = f", nor have {len(empty) - 1} other classes" if len(empty) > 1 else ""
    problem = f"class {dataset.classes[label]!r} has no training row {place}{more}"
    raise UserError("EmptyClass", refusal(field, value, problem, fix))


def _cause(
    dataset: Dataset,
    label: int,
    *,
    pool: tuple[str, ...],
    subset: str | None,
    fold: Fold | None,
    uri: str,
) -> tuple[str, object, str, str]:
    """Return the field that leaves a class without training rows, its value, where none are, and the fix."""
    if not any(dataset.rows_per_class(split=split)[label] for split in pool):
        place = f"in split {' or '.join(pool)}"
        return "spec.dataset.uri", uri, place, "build the dataset with more images of it, or without it"
    if fold is not None and not dataset.rows_per_class(fold=fold)[label]:
        place = f"outside of fold {fold[0]}, which is held out"
        return "spec.dataset.fold", fold[1], place, "use another number of folds, or more images of it"
    fix = "choose a larger subset, or more images of it"
    return "spec.dataset.subset.fraction", subset, "in the subset", fix
