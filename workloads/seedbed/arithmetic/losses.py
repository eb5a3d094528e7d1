"""The loss of a leaf: summed over its m rows and divided by m, so that the losses of leaves add up.

Shapes: m rows, k classes, labels or numbers.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch.nn import functional as F

from seedbed.arithmetic.arithmetic_config import (
    Arithmetic,
    BinaryCrossEntropy,
    CrossEntropy,
    Focal,
    Huber,
    MeanSquaredError,
)

_LEAST_MISS = 2.0**-24
"""Least 1 - p in a focal loss: the gradient of a root would be infinite at 0."""


def leaf_loss(arithmetic: Arithmetic, logits_mk: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean loss over the rows of a leaf; over labels or numbers too, where a row has several.

    `targets`: class indices (m,), 0 and 1 of labels (m, k), or numbers (m, k).
    """
    loss, rows = arithmetic.loss, arithmetic.leaf_rows
    match loss:
        case CrossEntropy():
            return _cross_entropy(loss, logits_mk, targets) / rows
        case BinaryCrossEntropy():
            return _binary_cross_entropy(loss, logits_mk, targets) / (rows * arithmetic.classes)
        case Focal():
            return _focal(loss, logits_mk, targets, several=arithmetic.task == "multi-label")
        case MeanSquaredError():
            summed = F.mse_loss(logits_mk, targets.to(torch.float32), reduction="sum")
            return summed / (rows * arithmetic.classes)
        case Huber():
            summed = F.huber_loss(logits_mk, targets.to(torch.float32), reduction="sum", delta=loss.delta)
            return summed / (rows * arithmetic.classes)


def _cross_entropy(loss: CrossEntropy, logits_mk: torch.Tensor, labels_m: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(
        logits_mk,
        labels_m,
        weight=_weights(loss.class_weights, logits_mk.device),
        reduction="sum",
        label_smoothing=loss.label_smoothing,
    )


def _binary_cross_entropy(
    loss: BinaryCrossEntropy, logits_mk: torch.Tensor, marks_mk: torch.Tensor
) -> torch.Tensor:
    targets_mk = marks_mk.to(torch.float32)
    if loss.label_smoothing > 0.0:
        targets_mk = targets_mk * (1.0 - loss.label_smoothing) + 0.5 * loss.label_smoothing
    return F.binary_cross_entropy_with_logits(
        logits_mk,
        targets_mk,
        pos_weight=_weights(loss.positive_weights, logits_mk.device),
        reduction="sum",
    )


def _focal(loss: Focal, logits_mk: torch.Tensor, targets: torch.Tensor, *, several: bool) -> torch.Tensor:
    """Return the mean of (1 - p)^gamma times the cross-entropy, p the probability of the right answer."""
    if several:
        marks = targets.to(torch.float32)
        losses = F.binary_cross_entropy_with_logits(logits_mk, marks, reduction="none")
    else:
        losses = F.cross_entropy(logits_mk, targets, reduction="none")
    miss = (1.0 - torch.exp(-losses)).clamp(min=_LEAST_MISS)
    return (miss**loss.gamma * losses).sum() / losses.numel()


@lru_cache(maxsize=8)
def _weights(weights: tuple[float, ...] | None, device: torch.device) -> torch.Tensor | None:
    return None if weights is None else torch.tensor(weights, dtype=torch.float32, device=device)
