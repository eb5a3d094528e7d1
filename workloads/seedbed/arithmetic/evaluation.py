"""Evaluation in integers: losses are quantised per sample, then summed, so any W gives equal counts.

Shapes: b rows of a batch, k classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from seedbed.arithmetic.batches import EvaluationRows
from seedbed.arithmetic.exchange import Exchange
from seedbed.arithmetic.leaf import forward, images_of
from seedbed.arithmetic.replica import Replica

LOSS_SCALE = 1 << 20
"""Steps per nat. A sample's loss is rounded to the nearest step, halves to even."""
LOSS_LIMIT = 1 << 16
"""Largest loss of one sample in nats; 2^27 samples of it fit in int64. NaN and infinity count as this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """What an evaluation counted; integers only, equal for every W."""

    loss: int
    """Sum of the per-sample cross-entropies in 1 / LOSS_SCALE nats, without smoothing and class weights."""
    non_finite: int
    """Samples whose loss was NaN or infinite."""
    confusion_kk: npt.NDArray[np.int64]
    """Rows: true class; columns: predicted class, the lowest index among equals."""

    @property
    def samples(self) -> int:
        """How many samples were evaluated."""
        return int(self.confusion_kk.sum())

    @property
    def correct(self) -> int:
        """How many of them were predicted right."""
        return int(np.trace(self.confusion_kk))

    def __eq__(self, other: object) -> bool:
        """Compare count by count."""
        return isinstance(other, Counts) and np.array_equal(self.as_vector(), other.as_vector())

    __hash__ = None  # type: ignore[assignment]

    def as_vector(self) -> npt.NDArray[np.int64]:
        """Return all counts in one vector, shape (2 + k · k,)."""
        return np.concatenate([np.array([self.loss, self.non_finite]), self.confusion_kk.reshape(-1)])

    @classmethod
    def from_vector(cls, vector: npt.NDArray[np.int64], classes: int) -> Counts:
        """Undo `as_vector`."""
        confusion = vector[2:].reshape(classes, classes)
        return cls(loss=int(vector[0]), non_finite=int(vector[1]), confusion_kk=confusion)


@dataclass(frozen=True, kw_only=True, slots=True)
class Metrics:
    """Figures for people, derived from counts; decisions compare the integers instead."""

    loss: float
    accuracy: float
    precision: tuple[float, ...]
    """Per class: right among those predicted as it; 0 where none was."""
    recall: tuple[float, ...]
    """Per class: right among those of it; 0 where there is none."""


def metrics(counts: Counts) -> Metrics:
    """Derive loss in nats, accuracy, and precision and recall per class."""
    confusion = counts.confusion_kk
    samples = max(counts.samples, 1)
    right = np.diagonal(confusion)
    return Metrics(
        loss=counts.loss / LOSS_SCALE / samples,
        accuracy=counts.correct / samples,
        precision=tuple((right / np.maximum(confusion.sum(axis=0), 1)).tolist()),
        recall=tuple((right / np.maximum(confusion.sum(axis=1), 1)).tolist()),
    )


def evaluate(replica: Replica, batches: Iterable[EvaluationRows], exchange: Exchange) -> Counts:
    """Count over this worker's fixed batches (b, b + W, …), then over all workers.

    Raises ModelOutputError if the model's output has the wrong shape.
    """
    classes = replica.arithmetic.classes
    sums = np.zeros(2 + classes * classes, dtype=np.int64)
    with evaluating(replica.model):
        for batch in batches:
            sums += _batch_counts(replica, batch).as_vector()
    return Counts.from_vector(exchange.sum_counts(sums), classes)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode for a while; each layer goes back to the mode it had.

    A layer that user code froze must stay frozen, or a run that is resumed would part from one that is not.
    """
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training


@torch.no_grad()
def logits(replica: Replica, pixels_bhwc: npt.NDArray[np.uint8]) -> torch.Tensor:
    """Return float32 logits (b, k) on the replica's device; the model's mode is the caller's."""
    return forward(replica, images_of(replica, pixels_bhwc))


def _batch_counts(replica: Replica, batch: EvaluationRows) -> Counts:
    logits_bk = logits(replica, batch.pixels_bhwc).cpu()[: batch.count]
    labels = torch.from_numpy(batch.labels_b)[: batch.count]
    losses = F.cross_entropy(logits_bk, labels, reduction="none").double()
    classes = replica.arithmetic.classes
    pairs = batch.labels_b[: batch.count] * classes + logits_bk.numpy().argmax(axis=1)
    return Counts(
        loss=int(quantised(losses).sum()),
        non_finite=int((~losses.isfinite()).sum()),
        confusion_kk=np.bincount(pairs, minlength=classes * classes).reshape(classes, classes),
    )


def quantised(losses: torch.Tensor) -> torch.Tensor:
    """Return losses in nats as int64 multiples of 1 / LOSS_SCALE, within 0 … LOSS_LIMIT."""
    bounded = losses.nan_to_num(nan=LOSS_LIMIT, posinf=LOSS_LIMIT, neginf=LOSS_LIMIT)
    return (bounded.clamp(0.0, LOSS_LIMIT) * LOSS_SCALE).round().to(torch.int64)
