"""Tasks of datasets, and the metrics of each: exact fractions of the integers in an evaluation record.

Every worker counts integers or fixed-point numbers, so a metric is equal for any number of workers. A class
that no row has and no prediction names is left out of means over classes. k classes or numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from math import isqrt
from typing import Any, Final, TypeAlias

Document: TypeAlias = Mapping[str, Any]

SINGLE_LABEL: Final = "single-label"
MULTI_LABEL: Final = "multi-label"
REGRESSION: Final = "regression"

TOP_K: Final = "top-k-accuracy"
"""Share of the rows whose class is among the k best: only in records of runs with `evaluation.topK`."""

DIRECTIONS: Final[dict[str, str]] = {
    "accuracy": "Maximize",
    "loss": "Minimize",
    "f1-macro": "Maximize",
    "f1-micro": "Maximize",
    "average-precision": "Maximize",
    "mae": "Minimize",
    "rmse": "Minimize",
    "r2": "Maximize",
    TOP_K: "Maximize",
}
"""Direction of improvement of each metric."""

METRICS: Final[dict[str, tuple[str, ...]]] = {
    SINGLE_LABEL: ("accuracy", "loss", "f1-macro", "f1-micro", TOP_K),
    MULTI_LABEL: ("accuracy", "loss", "f1-macro", "f1-micro", "average-precision"),
    REGRESSION: ("loss", "mae", "rmse", "r2"),
}
"""Metrics of each task. The accuracy of several labels is the share of rows whose labels are all right."""

REPORTED: Final = METRICS | {SINGLE_LABEL: ("accuracy", "loss", TOP_K)}
"""What results, statuses and reports have, where a record has it; without topK single-label has what it
always had, so that receipts stay."""

HEADLINE: Final = {
    SINGLE_LABEL: ("accuracy", TOP_K, "loss"),
    MULTI_LABEL: ("average-precision", "f1-macro", "loss"),
    REGRESSION: ("rmse", "r2", "loss"),
}
"""The figures on top of a report."""

SELECTION: Final = {SINGLE_LABEL: "accuracy", MULTI_LABEL: "average-precision", REGRESSION: "rmse"}
"""The metric of modelSelection: Best without earlyStopping."""

LOSSES: Final[dict[str, tuple[str, ...]]] = {
    SINGLE_LABEL: ("CrossEntropy", "Focal"),
    MULTI_LABEL: ("BinaryCrossEntropy", "Focal"),
    REGRESSION: ("MeanSquaredError", "Huber"),
}
"""Types of `training.loss` that fit each task."""

METRICS_OF_LOSS: Final[dict[str, tuple[str, ...]]] = {
    loss: tuple(
        name for name in DIRECTIONS if any(name in METRICS[task] for task in METRICS if loss in LOSSES[task])
    )
    for loss in sorted({loss for losses in LOSSES.values() for loss in losses})
}
"""Metrics that a dataset may have which a type of loss fits."""

_ROOT_BITS: Final = 40
"""A root is rounded down to a multiple of 2^-40."""


def task_of(document: Document) -> str:
    """Return the task of an evaluation record; records of before tasks are single-label."""
    return str(document.get("task", SINGLE_LABEL))


def metric_values(document: Document) -> dict[str, Fraction]:
    """Return all metrics of an evaluation record that has samples."""
    values = _plain(document) | _OF_TASK[task_of(document)](document)
    return {name: values[name] for name in METRICS[task_of(document)] if name in values}


def metric_value(document: Document, name: str) -> Fraction:
    """Return one metric of an evaluation record that has samples."""
    plain = _plain(document)
    return plain[name] if name in plain else metric_values(document)[name]


def reported_metrics(document: Document) -> dict[str, float]:
    """Return what results and reports have of a record, as the nearest floats."""
    task = task_of(document)
    values = _plain(document) if task == SINGLE_LABEL else metric_values(document)
    return {name: float(values[name]) for name in REPORTED[task] if name in values}


def main_metric(metrics: Mapping[str, str]) -> tuple[str, str]:
    """Return name and value of the validation metric that stands for a run; two empty texts without one."""
    for name in ("average-precision", "accuracy", "rmse"):
        if f"validation/{name}" in metrics:
            return name, metrics[f"validation/{name}"]
    return "", ""


def _plain(document: Document) -> dict[str, Fraction]:
    """Return the metrics that need no whole confusion matrix."""
    loss = Fraction(int(document["loss"]), document["samples"] * int(document["lossScale"]))
    values = {"loss": loss, "accuracy": Fraction(document.get("correct", 0), document["samples"])}
    if "topK" in document:
        values[TOP_K] = Fraction(document["topKCorrect"], document["samples"])
    return values


def _single_label(document: Document) -> dict[str, Fraction]:
    confusion = document["confusion"]
    hits = [row[at] for at, row in enumerate(confusion)]
    columns = [sum(column) for column in zip(*confusion, strict=True)]
    extra = [column - hit for column, hit in zip(columns, hits, strict=True)]
    missed = [sum(row) - hit for row, hit in zip(confusion, hits, strict=True)]
    return _f1(hits, extra, missed)


def _multi_label(document: Document) -> dict[str, Fraction]:
    counts = (document[name] for name in ("truePositives", "falsePositives", "falseNegatives"))
    precisions = map(average_precision, document["positives"], document["negatives"])
    return {"average-precision": _mean(precisions)} | _f1(*counts)


def _f1(hits: Sequence[int], extra: Sequence[int], missed: Sequence[int]) -> dict[str, Fraction]:
    """Return F1 from true positives, false positives and false negatives per class."""
    sums = [(2 * hit, 2 * hit + more + less) for hit, more, less in zip(hits, extra, missed, strict=True)]
    total = sum(below for _, below in sums)
    return {
        "f1-macro": _mean(Fraction(above, below) if below else None for above, below in sums),
        "f1-micro": Fraction(sum(above for above, _ in sums), total) if total else Fraction(0),
    }


def average_precision(positives: Sequence[int], negatives: Sequence[int]) -> Fraction | None:
    """Return the mean precision over the positives of one label, from the rows per bin of ascending score.

    Rows of one bin have one score: the area under the steps of precision over recall, as scikit-learn has it.
    None without a positive.
    """
    found = seen = 0
    area = Fraction(0)
    for right, wrong in zip(reversed(positives), reversed(negatives), strict=True):
        found, seen = found + right, seen + right + wrong
        area += Fraction(right * found, seen) if right else 0
    return area / found if found else None


def _regression(document: Document) -> dict[str, Fraction]:
    columns = number_scores(document)
    return {name: _mean(column[name] for column in columns) for name in ("mae", "rmse", "r2")}


def number_scores(document: Document) -> list[dict[str, Fraction]]:
    """Return MAE, RMSE and R² of each number; the metrics are their means.

    R² of a number that is equal in all rows is 1 where every error is 0, else 0.
    """
    samples, scale = document["samples"], int(document["numberScale"])
    sums = (map(int, document[name]) for name in ("errors", "squares", "targets", "targetSquares"))
    return [
        _number_scores(samples, scale, errors, squares, total, total_squares)
        for errors, squares, total, total_squares in zip(*sums, strict=True)
    ]


def _number_scores(
    samples: int, scale: int, errors: int, squares: int, total: int, total_squares: int
) -> dict[str, Fraction]:
    spread = total_squares - Fraction(total * total, samples)
    constant = Fraction(1 if squares == 0 else 0)
    return {
        "mae": Fraction(errors, samples * scale),
        "rmse": square_root(Fraction(squares, samples * scale * scale)),
        "r2": 1 - squares / spread if spread else constant,
    }


def square_root(value: Fraction) -> Fraction:
    """Return the root of a number, rounded down to a multiple of 2^-40: equal on every machine."""
    return Fraction(isqrt(int(value * 4**_ROOT_BITS)), 2**_ROOT_BITS)


def _mean(values: Iterable[Fraction | None]) -> Fraction:
    known = [value for value in values if value is not None]
    return sum(known, Fraction(0)) / len(known) if known else Fraction(0)


_OF_TASK: Final[dict[str, Callable[[Document], dict[str, Fraction]]]] = {
    SINGLE_LABEL: _single_label,
    MULTI_LABEL: _multi_label,
    REGRESSION: _regression,
}
