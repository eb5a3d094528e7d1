"""Conversions of evaluation records: counts to documents, exact scores, final metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.evaluation_counts import LOSS_SCALE, Counts
from seedbed.arithmetic.integer_limbs import json_integer
from seedbed.runs.evaluation_records import Evaluation
from seedbed.runs.training_result import TrainingResult
from seedbed.training.early_stopping import Score
from seedbed_api.metric_values import metric_value, reported_metrics
from seedbed_api.trainingjob_status import format_measurement

if TYPE_CHECKING:
    from seedbed.arithmetic.target_counting import AnyCounts

Measure = Callable[[npt.NDArray[np.int64]], Mapping[str, float]]
"""Metrics of a confusion matrix (true class, predicted class)."""


def evaluation_document(counts: AnyCounts, *, weights_digest: str) -> dict[str, Any]:
    """Return the record of an evaluation: integers and the digest of the weights that were evaluated."""
    if not isinstance(counts, Counts):
        return counts.document() | {"weightsDigest": weights_digest}
    top = {} if counts.top_k is None else {"topK": counts.top_k, "topKCorrect": counts.in_top}
    return top | {
        "samples": counts.samples,
        "correct": counts.correct,
        "loss": json_integer(counts.loss),
        "lossScale": LOSS_SCALE,
        "nonFinite": counts.non_finite,
        "confusion": counts.confusion_kk.tolist(),
        "weightsDigest": weights_digest,
    }


def scores_of(evaluations: Iterable[Evaluation], metric: str) -> list[Score]:
    """Return the exact values of a validation metric by milestone; records without rows are left out."""
    name = metric.removeprefix("validation/")
    records = [e for e in evaluations if e.split == "validation" and e.document["samples"]]
    return [
        Score(completed=record.step, value=metric_value(record.document, name))
        for record in sorted(records, key=lambda record: record.step)
    ]


def final_metrics(
    evaluations: Iterable[Evaluation], outcome: TrainingResult, *, measure: Measure | None = None
) -> dict[str, str]:
    """Return the metrics of the task, and the user's, of the selected weights on validation and test rows."""
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
    yield from reported_metrics(record.document).items()
    confusion = record.document.get("confusion")
    if measure is not None and confusion is not None:
        yield from measure(np.array(confusion, dtype=np.int64)).items()
