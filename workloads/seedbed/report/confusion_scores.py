"""Precision, recall, F1 and most frequent confusions from a confusion matrix of counts. k classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScore:
    """Scores of one class; a ratio without denominator is None, not 0."""

    name: str
    rows: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """A true class and the class that was predicted in its place."""

    true_class: str
    predicted_class: str
    count: int
    share: float
    """Of the rows of the true class."""


def class_scores(confusion_kk: npt.NDArray[np.int64], classes: Sequence[str]) -> list[ClassScore]:
    """Return one score per class, in class order."""
    return [_score(confusion_kk, index, name) for index, name in enumerate(classes)]


def worst_confusions(
    confusion_kk: npt.NDArray[np.int64], classes: Sequence[str], *, most: int
) -> list[Confusion]:
    """Return the most frequent mistakes, most frequent first, equal counts in class order."""
    wrong = confusion_kk.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    pairs = [(int(flat) // wrong.shape[1], int(flat) % wrong.shape[1]) for flat in order]
    return [
        Confusion(
            true_class=classes[true],
            predicted_class=classes[predicted],
            count=int(wrong[true, predicted]),
            share=float(wrong[true, predicted] / confusion_kk[true].sum()),
        )
        for true, predicted in pairs
        if wrong[true, predicted] > 0
    ]


def _score(confusion_kk: npt.NDArray[np.int64], index: int, name: str) -> ClassScore:
    hits = int(confusion_kk[index, index])
    rows, predicted = int(confusion_kk[index].sum()), int(confusion_kk[:, index].sum())
    total = rows + predicted
    return ClassScore(
        name=name,
        rows=rows,
        precision=hits / predicted if predicted else None,
        recall=hits / rows if rows else None,
        f1=2 * hits / total if total else None,
    )
