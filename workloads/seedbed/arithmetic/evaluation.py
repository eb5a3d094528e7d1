"""Evaluation in integers: losses are quantised per sample, then summed, so any W gives equal counts.

Shapes: b rows of a batch, k classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from seedbed.arithmetic.batches import EvaluationRows
from seedbed.arithmetic.counts import LOSS_LIMIT, LOSS_SCALE, Counts
from seedbed.arithmetic.determinism import keep_denormals
from seedbed.arithmetic.exchange import Exchange
from seedbed.arithmetic.leaf import forward, images_of
from seedbed.arithmetic.replica import Replica


def evaluate(replica: Replica, batches: Iterable[EvaluationRows], exchange: Exchange) -> Counts:
    """Count over this worker's fixed batches (b, b + W, …), then over all workers.

    Raises ModelOutputError if the model's output has the wrong shape.
    """
    classes = replica.arithmetic.classes
    sums = np.zeros(2 + classes * classes, dtype=np.int64)
    with evaluating(replica.model):
        for batch in batches:
            keep_denormals()
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
