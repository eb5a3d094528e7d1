"""Objectives of trials as integers: multiples of 10^-12, compared and shown without rounding differences.

A metric is an exact fraction of integers that an evaluation counted; it is rounded once, halves to even. With
folds the objective is the rounded mean of these integers. Ties are exact and go to the lower index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Any, Final

from seedbed_api.errors import UserError, refusal
from seedbed_api.metric_values import metric_value
from seedbed_api.sweepjob import Objective

DECIMALS: Final = 12
SCALE: Final = 10**DECIMALS
"""Units in 1. The largest loss, 65,536 nats, is 6.6e16 units."""
MOST_UNITS: Final = 2**62
"""Errors of numbers may be larger than 4.6 million: they count as this, so that every value fits in int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """Direction of the objective, and its target."""

    maximize: bool
    target: Fraction | None = None
    """In units of 10^-12."""

    def sort_key(self, value: int) -> int:
        """Return a number that is smaller for a better value."""
        return -value if self.maximize else value

    def is_reached_by(self, value: int) -> bool:
        """Say whether a value is the target or better."""
        return self.target is not None and (value >= self.target if self.maximize else value <= self.target)


def objective_goal(objective: Objective) -> Goal:
    """Return the goal of a sweep."""
    target = None if objective.target is None else Fraction(Decimal(objective.target)) * SCALE
    return Goal(maximize=objective.direction == "Maximize", target=target)


def objective_of(document: Mapping[str, Any], metric: str) -> int:
    """Return the value of a metric from the document of an evaluation record.

    Raises UserError InvalidDataset where no row was evaluated.
    """
    if not document["samples"]:
        fix = "build the dataset with validation rows, or use crossValidation"
        raise UserError(
            "InvalidDataset",
            refusal(
                "spec.objective.metric", metric, "cannot be computed: no validation row was evaluated", fix
            ),
        )
    value = to_units(metric_value(document, metric.removeprefix("validation/")))
    return max(-MOST_UNITS, min(value, MOST_UNITS))


def to_units(value: Fraction) -> int:
    """Return the nearest multiple of 10^-12, halves to even."""
    return round(value * SCALE)


def mean_objective(folds: Sequence[int]) -> int:
    """Return the mean over folds, halves to even."""
    return round(Fraction(sum(folds), len(folds)))


def standard_deviation(folds: Sequence[int]) -> int | None:
    """Return the sample standard deviation over folds, rounded down; None for a single fold."""
    count = len(folds)
    if count < 2:
        return None
    squares = sum((count * value - sum(folds)) ** 2 for value in folds)
    return isqrt(squares // (count**2 * (count - 1)))


def format_objective(value: int) -> str:
    """Return the objective as a decimal string without trailing zeros."""
    whole, rest = divmod(abs(value), SCALE)
    digits = f"{whole}.{rest:0{DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{digits}" if value < 0 else digits


def parse_objective(text: str) -> int:
    """Undo `spelled`; ValueError for anything else."""
    value = Fraction(text) * SCALE
    if value.denominator != 1 or format_objective(int(value)) != text:
        raise ValueError(f"not an objective: {text!r}")
    return int(value)
