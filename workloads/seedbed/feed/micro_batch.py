"""Micro-batches and evaluation batches. Shapes: m rows of a leaf, b rows of a batch, H W C of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class MicroBatch:
    """The rows that one leaf consumes in one step."""

    step: int
    """0-based global step."""
    leaf: int
    """0-based global leaf index, 0 <= leaf < L."""
    rows_m: npt.NDArray[np.int64]
    """Row numbers in the dataset, shape (m,)."""
    labels_m: npt.NDArray[Any]
    """Targets by the task of the dataset: class indices (m,) int64; 0 and 1 of k labels (m, k) uint8; k
    numbers (m, k) float64."""
    pixels_mhwc: npt.NDArray[np.uint8]
    """Decoded and augmented RGB pixels, shape (m, H, W, 3), C-contiguous, not normalised."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationBatch:
    """A fixed batch of an evaluation: rows [index·b, (index+1)·b) of the split, the last one padded."""

    index: int
    """0-based batch index; worker `index % W` evaluates it."""
    count: int
    """Number of real rows; the others repeat the last one and are masked."""
    rows_b: npt.NDArray[np.int64]
    """Row numbers in the dataset, shape (b,)."""
    labels_b: npt.NDArray[Any]
    """Targets, as those of a micro-batch."""
    pixels_bhwc: npt.NDArray[np.uint8]
    """Decoded RGB pixels (resized, centre-cropped, never augmented), shape (b, H, W, 3)."""
