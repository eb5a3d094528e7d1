"""Conversions of evaluation records: counts to documents, and back to counts, exact scores, final metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.evaluation_counts import LOSS_SCALE, Counts, Metrics, metrics
from seedbed.runs.evaluation_records import Evaluation
from seedbed.runs.training_result import TrainingResult
from seedbed.training.early_stopping import Score
from seedbed_api.trainingjob_status import format_measurement

Measure = Callable[[npt.NDArray[np.int64]], Mapping[str, float]]
"""Metrics of a confusion matrix (true class, predicted class)."""


def evaluation_document(counts: Counts, *, weights_digest: str) -> dict[str, Any]:
    """Return the record of an evaluation: integers and the digest of the weights that were evaluated."""
    return {
        "samples": counts.samples,
        "correct": counts.correct,
        "loss": counts.loss,
        "lossScale": LOSS_SCALE,
        "nonFinite": counts.non_finite,
        "confusion": counts.confusion_kk.tolist(),
        "weightsDigest": weights_digest,
    }


def counts_of(document: dict[str, Any]) -> Counts:
    """Return the counts of a stored record."""
    return Counts(
        loss=document["loss"],
        non_finite=document["nonFinite"],
        confusion_kk=np.array(document["confusion"], dtype=np.int64),
    )


def metrics_of(document: dict[str, Any]) -> Metrics:
    """Return the metrics of a stored record, for display."""
    return metrics(counts_of(document))


def scores_of(evaluations: Iterable[Evaluation], metric: str) -> list[Score]:
    """Return the exact values of a validation metric by milestone; records without rows are left out."""
    name = metric.removeprefix("validation/")
    records = [e for e in evaluations if e.split == "validation" and e.document["samples"]]
    return [
        Score(completed=record.step, value=_value(record.document, name))
        for record in sorted(records, key=lambda record: record.step)
    ]


def _value(document: dict[str, Any], name: str) -> Fraction:
    if name == "accuracy":
        return Fraction(document["correct"], document["samples"])
    assert name == "loss", name
    return Fraction(document["loss"], document["samples"] * document["lossScale"])


def final_metrics(
    evaluations: Iterable[Evaluation], outcome: TrainingResult, *, measure: Measure | None = None
) -> dict[str, str]:
    """Return loss, accuracy and the user's metrics of the selected weights on validation and test rows."""
    newest: dict[str, Evaluation] = {}
    for record in evaluations:
        wanted = outcome.selected_step if record.split == "validation" else outcome.step
        if record.step == wanted:
            newest[record.split] = record
    figures = (
        (f"{split}/{name}", value)
        for split, record in newest.items()
        for name, value in _figures(record, measure)
    )
    return {name: format_measurement(value) for name, value in sorted(figures)}


def _figures(record: Evaluation, measure: Measure | None) -> Iterator[tuple[str, float]]:
    counts = counts_of(record.document)
    figures = metrics(counts)
    yield "loss", figures.loss
    yield "accuracy", figures.accuracy
    yield from measure(counts.confusion_kk).items() if measure else ()
