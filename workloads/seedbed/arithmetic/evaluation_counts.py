"""Counts of an evaluation of single-label rows; imports no torch.

Shapes: k classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.integer_limbs import LIMBS, limbs, value_of

LOSS_SCALE = 1 << 20
"""Steps per nat. A sample's loss is rounded to the nearest step, halves to even."""
LOSS_LIMIT = 1 << 16
"""Largest loss of one sample in nats. NaN and infinity count as this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Counts:
    """Counts of an evaluation: integers, equal for every W."""

    loss: int
    """Sum of the per-sample cross-entropies in 1 / LOSS_SCALE nats, without smoothing and class weights."""
    non_finite: int
    """Samples whose loss was NaN or infinite."""
    confusion_kk: npt.NDArray[np.int64]
    """Rows: true class; columns: predicted class, the lowest index among equals."""
    top_k: int | None = None
    in_top: int = 0
    """Samples whose class is among the `top_k` best; of equal ones the lower index is the better."""

    @property
    def samples(self) -> int:
        """How many samples were evaluated."""
        return int(self.confusion_kk.sum())

    @property
    def correct(self) -> int:
        """How many of them were predicted correctly."""
        return int(np.trace(self.confusion_kk))

    def __eq__(self, other: object) -> bool:
        """Compare count by count."""
        return isinstance(other, Counts) and np.array_equal(self.as_vector(), other.as_vector())

    __hash__ = None  # type: ignore[assignment]

    def as_vector(self) -> npt.NDArray[np.int64]:
        """Return all counts in one vector, shape (2 + n + k · k,); the loss is cut into n limbs."""
        head = np.array([self.non_finite, self.in_top, *limbs(self.loss)], np.int64)
        return np.concatenate([head, self.confusion_kk.reshape(-1)])

    @classmethod
    def from_vector(cls, vector: npt.NDArray[np.int64], classes: int, *, top_k: int | None = None) -> Counts:
        """Return the counts of a vector; the inverse of `as_vector`."""
        non_finite, in_top, *digits = vector[: 2 + LIMBS].tolist()
        return cls(
            loss=value_of(digits),
            non_finite=non_finite,
            confusion_kk=vector[2 + LIMBS :].reshape(classes, classes),
            top_k=top_k,
            in_top=in_top,
        )

    @staticmethod
    def size(classes: int) -> int:
        """Return the length of the vector."""
        return 2 + LIMBS + classes * classes
