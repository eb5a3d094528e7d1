"""Conversions of evaluation records: counts to documents, and back to counts, metrics, exact scores."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import numpy as np

from seedbed.arithmetic.evaluation_counts import LOSS_SCALE, Counts, Metrics, metrics
from seedbed.runs.evaluation_records import Evaluation
from seedbed.training.early_stopping import Score


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
