"""Figures of each label or number of an evaluation record: what stands where single-label has a matrix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from seedbed_api.metric_values import (
    MULTI_LABEL,
    REGRESSION,
    average_precision,
    number_scores,
    task_of,
)


def output_scores(document: Mapping[str, Any], names: Sequence[str]) -> dict[str, dict[str, float | None]]:
    """Return figures by name and column; none for single-label, None where nothing was predicted or had."""
    match task_of(document):
        case task if task == MULTI_LABEL:
            return dict(zip(names, _label_scores(document), strict=True))
        case task if task == REGRESSION:
            columns = number_scores(document)
            figures = [{key.upper(): float(value) for key, value in each.items()} for each in columns]
            return {name: dict(each) for name, each in zip(names, figures, strict=True)}
    return {}


def _label_scores(document: Mapping[str, Any]) -> list[dict[str, float | None]]:
    counts = [document[name] for name in ("truePositives", "falsePositives", "falseNegatives")]
    bins = zip(document["positives"], document["negatives"], strict=True)
    return [
        {
            "rows": hits + missed,
            "precision": _share(hits, hits + extra),
            "recall": _share(hits, hits + missed),
            "F1": _share(2 * hits, 2 * hits + extra + missed),
            "average precision": _float(average_precision(positives, negatives)),
        }
        for hits, extra, missed, (positives, negatives) in zip(*counts, bins, strict=True)
    ]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _float(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
