"""Counting of one evaluation batch, by the task of the dataset. Shapes: b rows of a batch, k outputs."""

from __future__ import annotations

from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from seedbed.arithmetic.arithmetic_config import Arithmetic, Huber
from seedbed.arithmetic.batch_protocols import EvaluationRows
from seedbed.arithmetic.evaluation_counts import LOSS_LIMIT, LOSS_SCALE, Counts
from seedbed.arithmetic.target_counts import (
    NUMBER_SCALE,
    SCORE_BINS,
    LabelCounts,
    NumberCounts,
    fixed_point,
    sum_of_squares,
)

AnyCounts: TypeAlias = Counts | LabelCounts | NumberCounts
Vector = npt.NDArray[np.int64]


class Counter(Protocol):
    """Counts batches into vectors of int64 that add up."""

    size: int

    def count(self, batch: EvaluationRows, logits_bk: torch.Tensor) -> Vector:
        """Return the counts of the real rows of a batch."""

    def counts(self, vector: Vector) -> AnyCounts:
        """Return the counts of a sum of vectors."""


def counter_of(arithmetic: Arithmetic) -> Counter:
    """Return what counts the evaluations of a run."""
    if arithmetic.task == "multi-label":
        return LabelCounter(arithmetic.classes)
    if arithmetic.task == "regression":
        delta = arithmetic.loss.delta if isinstance(arithmetic.loss, Huber) else None
        return NumberCounter(arithmetic.classes, delta=delta)
    return ClassCounter(arithmetic.classes, top_k=arithmetic.top_k)


class ClassCounter:
    """Counts of one label per row, and of the rows whose label is among the `top_k` best."""

    def __init__(self, classes: int, *, top_k: int | None = None) -> None:
        self._classes, self._top_k = classes, top_k
        self.size = Counts.size(classes)

    def count(self, batch: EvaluationRows, logits_bk: torch.Tensor) -> Vector:
        """Return loss and confusion of a batch."""
        classes, logits_bk = self._classes, logits_bk[: batch.count]
        labels = torch.from_numpy(batch.labels_b)[: batch.count]
        losses = F.cross_entropy(logits_bk, labels, reduction="none").double()
        pairs = batch.labels_b[: batch.count] * classes + logits_bk.numpy().argmax(axis=1)
        return Counts(
            loss=sum_of_losses(losses),
            non_finite=int((~losses.isfinite()).sum()),
            confusion_kk=np.bincount(pairs, minlength=classes * classes).reshape(classes, classes),
            in_top=0 if self._top_k is None else _in_top(logits_bk.numpy(), labels.numpy(), self._top_k),
        ).as_vector()

    def counts(self, vector: Vector) -> Counts:
        """Return the counts of a sum of vectors."""
        return Counts.from_vector(vector, self._classes, top_k=self._top_k)


def _in_top(logits_bk: npt.NDArray[np.float32], labels_b: npt.NDArray[np.int64], top_k: int) -> int:
    """Return how many rows have fewer than `top_k` classes before their own; none where a logit is NaN."""
    own_b1 = np.take_along_axis(logits_bk, labels_b[:, None], axis=1)
    tied_bk = (logits_bk == own_b1) & (np.arange(logits_bk.shape[1]) < labels_b[:, None])
    before_b = ((logits_bk > own_b1) | tied_bk).sum(axis=1)
    return int(((before_b < top_k) & ~np.isnan(logits_bk).any(axis=1)).sum())


class LabelCounter:
    """Counts of several labels per row."""

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self.size = LabelCounts.size(labels)

    def count(self, batch: EvaluationRows, logits_bk: torch.Tensor) -> Vector:
        """Return loss, hits and scores of a batch."""
        logits_bk = logits_bk[: batch.count]
        marks_bk = batch.labels_b[: batch.count].astype(np.float32)
        losses = F.binary_cross_entropy_with_logits(
            logits_bk, torch.from_numpy(marks_bk), reduction="none"
        ).double()
        scores_bk, has = logits_bk.numpy(), marks_bk > 0
        # NaN is the worst that a row can be told: the opposite of its label, with the worst score
        unknown = np.isnan(scores_bk)
        said = np.where(unknown, ~has, scores_bk > 0)
        bins = np.where(unknown & ~has, SCORE_BINS - 1, score_bins(scores_bk))
        return LabelCounts(
            loss=sum_of_losses(losses),
            non_finite=int((~losses.isfinite()).sum()),
            samples=len(has),
            correct=int((has == said).all(axis=1).sum()),
            hits_k=(has & said).sum(axis=0),
            extra_k=(~has & said).sum(axis=0),
            missed_k=(has & ~said).sum(axis=0),
            positives_ks=_by_bin(bins, has),
            negatives_ks=_by_bin(bins, ~has),
        ).as_vector()

    def counts(self, vector: Vector) -> LabelCounts:
        """Return the counts of a sum of vectors."""
        return LabelCounts.from_vector(vector, self._labels)


def score_bins(logits_bk: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
    """Return the bin of each logit, 0 … SCORE_BINS - 1; NaN is the lowest."""
    finite = np.nan_to_num(logits_bk.astype(np.float64), nan=-np.inf)
    bins = np.floor(np.clip(finite, -1e6, 1e6) * 8).astype(np.int64) + SCORE_BINS // 2
    bounded: npt.NDArray[np.int64] = np.clip(bins, 0, SCORE_BINS - 1)
    return bounded


def _by_bin(bins_bk: npt.NDArray[np.int64], chosen_bk: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    labels = bins_bk.shape[1]
    places = bins_bk + SCORE_BINS * np.arange(labels)
    return np.bincount(places[chosen_bk], minlength=labels * SCORE_BINS).reshape(labels, SCORE_BINS)


class NumberCounter:
    """Exact sums of a regression. `delta` is that of the Huber loss; None counts squares as the loss."""

    def __init__(self, numbers: int, *, delta: float | None = None) -> None:
        self._numbers, self._delta = numbers, delta
        self.size = NumberCounts.size(numbers)

    def count(self, batch: EvaluationRows, logits_bk: torch.Tensor) -> Vector:
        """Return the sums of errors and targets of a batch."""
        targets_bk = batch.labels_b[: batch.count].astype(np.float64)
        predicted_bk = logits_bk[: batch.count].double().numpy()
        columns = [_sums(predicted_bk[:, at], targets_bk[:, at], self._delta) for at in range(self._numbers)]
        return NumberCounts(
            samples=len(targets_bk),
            non_finite=int((~np.isfinite(predicted_bk)).sum()),
            loss=sum(column["loss"] for column in columns),
            sums={name: tuple(column[name] for column in columns) for name in NumberCounts.NAMES},
        ).as_vector()

    def counts(self, vector: Vector) -> NumberCounts:
        """Return the counts of a sum of vectors."""
        return NumberCounts.from_vector(vector, self._numbers)


def _sums(
    predicted_b: npt.NDArray[np.float64], targets_b: npt.NDArray[np.float64], delta: float | None
) -> dict[str, int]:
    errors = [abs(error) for error in fixed_point(predicted_b - targets_b)]
    targets = fixed_point(targets_b)
    squares = sum_of_squares(errors)
    return {
        "errors": sum(errors),
        "squares": squares,
        "targets": sum(targets),
        "targetSquares": sum_of_squares(targets),
        "loss": squares if delta is None else _huber(errors, delta),
    }


def _huber(errors: list[int], delta: float) -> int:
    """Return the sum of Huber losses in 1 / NUMBER_SCALE², rounded down row by row."""
    bound = round(delta * NUMBER_SCALE)
    return sum(error * error // 2 if error <= bound else bound * (2 * error - bound) // 2 for error in errors)


def sum_of_losses(losses: torch.Tensor) -> int:
    """Return the exact sum of quantised losses, of any number of them."""
    return sum(quantize_losses(losses).reshape(len(losses), -1).sum(dim=1).tolist())


def quantize_losses(losses: torch.Tensor) -> torch.Tensor:
    """Return losses in nats as int64 multiples of 1 / LOSS_SCALE, within 0 … LOSS_LIMIT."""
    bounded = losses.nan_to_num(nan=LOSS_LIMIT, posinf=LOSS_LIMIT, neginf=LOSS_LIMIT)
    return (bounded.clamp(0.0, LOSS_LIMIT) * LOSS_SCALE).round().to(torch.int64)
