"""Counts of an evaluation of several labels, or of numbers; imports no torch.

Every count is an integer: added in any order, by any number of workers, they are equal. Shapes: k labels or
numbers, s bins of scores, n limbs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.evaluation_counts import LOSS_SCALE
from seedbed.arithmetic.integer_limbs import LIMBS, json_integer, limbs, value_of

Int64 = npt.NDArray[np.int64]

SCORE_BINS = 256
"""Bins of logits, 1/8 wide, from -16 to 16: what average precision is computed from."""
NUMBER_SCALE = 1 << 40
"""Steps per unit of a number or an error; each is rounded to the nearest step, halves to even."""
NUMBER_LIMIT = 1 << 40
"""Largest number and largest error; NaN and infinity count as an error of this."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelCounts:
    """Counts of several labels."""

    loss: int
    """Sum of the binary cross-entropies of all labels in 1 / LOSS_SCALE nats, without weights."""
    non_finite: int
    """Labels whose loss was NaN or infinite."""
    samples: int
    correct: int
    """Rows whose labels are all predicted right."""
    hits_k: Int64
    """True positives: a label is predicted where its logit is above 0. NaN is always a wrong prediction."""
    extra_k: Int64
    """False positives."""
    missed_k: Int64
    """False negatives."""
    positives_ks: Int64
    """Rows that have a label, by the bin of its logit; NaN is in the lowest."""
    negatives_ks: Int64
    """Rows that do not have it; NaN is in the highest."""

    def as_vector(self) -> Int64:
        """Return all counts in one vector, shape (3 + n + 3k + 2ks,); the loss is cut into limbs."""
        head = np.array([self.non_finite, self.samples, self.correct, *limbs(self.loss)], np.int64)
        tables = (self.hits_k, self.extra_k, self.missed_k, self.positives_ks, self.negatives_ks)
        return np.concatenate([head, *(table.reshape(-1) for table in tables)])

    @classmethod
    def from_vector(cls, vector: Int64, labels: int) -> LabelCounts:
        """Return the counts of a vector; the inverse of `as_vector`."""
        non_finite, samples, correct, *digits = vector[: 3 + LIMBS].tolist()
        tables = vector[3 + LIMBS :]
        hits_k, extra_k, missed_k = tables[: 3 * labels].reshape(3, labels)
        positives, negatives = tables[3 * labels :].reshape(2, labels, SCORE_BINS)
        return cls(
            loss=value_of(digits),
            non_finite=non_finite,
            samples=samples,
            correct=correct,
            hits_k=hits_k,
            extra_k=extra_k,
            missed_k=missed_k,
            positives_ks=positives,
            negatives_ks=negatives,
        )

    @staticmethod
    def size(labels: int) -> int:
        """Return the length of the vector."""
        return 3 + LIMBS + 3 * labels + 2 * labels * SCORE_BINS

    def document(self) -> dict[str, Any]:
        """Return the counts as an evaluation record has them."""
        return {
            "task": "multi-label",
            "samples": self.samples,
            "correct": self.correct,
            "loss": json_integer(self.loss),
            "lossScale": LOSS_SCALE * len(self.hits_k),
            "nonFinite": self.non_finite,
            "truePositives": self.hits_k.tolist(),
            "falsePositives": self.extra_k.tolist(),
            "falseNegatives": self.missed_k.tolist(),
            "positives": self.positives_ks.tolist(),
            "negatives": self.negatives_ks.tolist(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class NumberCounts:
    """Exact sums over the rows of a regression, in fixed point."""

    NAMES: ClassVar = ("errors", "squares", "targets", "targetSquares")

    samples: int
    non_finite: int
    """Predictions that were NaN or infinite."""
    loss: int
    """Sum of the losses of all numbers, in 1 / NUMBER_SCALE²."""
    sums: dict[str, tuple[int, ...]]
    """By NAMES and number: |error| and targets in 1 / NUMBER_SCALE, their squares in 1 / NUMBER_SCALE²."""

    def as_vector(self) -> Int64:
        """Return all counts in one vector of int64: larger sums are cut into limbs, which add up too."""
        values = [self.loss, *(value for name in self.NAMES for value in self.sums[name])]
        head = np.array([self.samples, self.non_finite])
        return np.concatenate([head, np.array([limbs(value) for value in values], np.int64).reshape(-1)])

    @classmethod
    def from_vector(cls, vector: Int64, numbers: int) -> NumberCounts:
        """Return the counts of a vector, or of a sum of vectors; the inverse of `as_vector`."""
        loss, *rest = (value_of(row) for row in vector[2:].reshape(-1, LIMBS).tolist())
        sums = {name: tuple(rest[at * numbers : (at + 1) * numbers]) for at, name in enumerate(cls.NAMES)}
        return cls(samples=int(vector[0]), non_finite=int(vector[1]), loss=loss, sums=sums)

    @classmethod
    def size(cls, numbers: int) -> int:
        """Return the length of the vector."""
        return 2 + LIMBS * (1 + len(cls.NAMES) * numbers)

    def document(self) -> dict[str, Any]:
        """Return the counts as an evaluation record has them; integers that JSON cannot hold are strings."""
        numbers = len(self.sums["errors"])
        return {
            "task": "regression",
            "samples": self.samples,
            "loss": str(self.loss),
            "lossScale": str(NUMBER_SCALE * NUMBER_SCALE * numbers),
            "numberScale": str(NUMBER_SCALE),
            "nonFinite": self.non_finite,
            **{name: [str(value) for value in values] for name, values in self.sums.items()},
        }


def fixed_point(values: npt.NDArray[np.float64], *, scale: int = NUMBER_SCALE) -> list[int]:
    """Return numbers as integers, multiples of 1 / scale: exact but for one rounding; NaN is the limit."""
    bounded = np.nan_to_num(values, nan=NUMBER_LIMIT, posinf=NUMBER_LIMIT, neginf=-NUMBER_LIMIT)
    scaled = np.rint(np.clip(bounded, -NUMBER_LIMIT, NUMBER_LIMIT) * scale)
    return [int(value) for value in scaled.tolist()]


def sum_of_squares(values: Iterable[int]) -> int:
    """Return an exact sum of squares."""
    return sum(value * value for value in values)
