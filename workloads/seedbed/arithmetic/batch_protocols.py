"""Protocols of micro-batches and evaluation batches; the feed implements them."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


class LeafRows(Protocol):
    """The rows of one leaf."""

    @property
    def leaf(self) -> int:
        """0-based global leaf index."""

    @property
    def labels_m(self) -> npt.NDArray[Any]:
        """Targets: class indices (m,) int64, 0 and 1 of labels (m, k) uint8, or numbers (m, k) float64."""

    @property
    def pixels_mhwc(self) -> npt.NDArray[np.uint8]:
        """RGB pixels, C-contiguous, not normalised."""


class EvaluationRows(Protocol):
    """One fixed batch of an evaluation, the last one padded."""

    @property
    def index(self) -> int:
        """0-based index of the batch in its split."""

    @property
    def count(self) -> int:
        """How many of the b rows are real."""

    @property
    def labels_b(self) -> npt.NDArray[Any]:
        """Targets, as those of a leaf."""

    @property
    def pixels_bhwc(self) -> npt.NDArray[np.uint8]:
        """RGB pixels, not normalised."""
