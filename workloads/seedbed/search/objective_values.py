"""The objective of a trial as an integer: what is compared is what is shown, in steps of 10^-12.

A metric is an exact fraction of integers that an evaluation counted; it is rounded once, halves to even. With
folds the objective is their mean, over integers again. So equal means equal, and ties go to the lower index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import isqrt
from typing import Any, Final

from seedbed_api.errors import UserError, refusal
from seedbed_api.sweepjob import Objective

DECIMALS: Final = 12
SCALE: Final = 10**DECIMALS
"""Steps of 1. The largest loss, 65,536 nats, is 6.6e16 steps: every value fits in int64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """Which way is better, and what is good enough."""

    maximize: bool
    target: Fraction | None = None
    """In steps."""

    def key(self, value: int) -> int:
        """Return a number that is smaller where the value is better."""
        return -value if self.maximize else value

    def reached(self, value: int) -> bool:
        """Tell whether a value is the target or better."""
        return self.target is not None and (value >= self.target if self.maximize else value <= self.target)


def goal(objective: Objective) -> Goal:
    """Return the goal of a sweep."""
    target = None if objective.target is None else Fraction(Decimal(objective.target)) * SCALE
    return Goal(maximize=objective.direction == "Maximize", target=target)


def value_of(document: Mapping[str, Any], metric: str) -> int:
    """Return the value of a metric, in steps, from the document of an evaluation record.

    Raises UserError InvalidDataset where no row was evaluated.
    """
    if not document["samples"]:
        fix = "build the dataset with validation rows, or use crossValidation"
        raise UserError(
            "InvalidDataset", refusal("spec.objective.metric", metric, "has no rows to count", fix)
        )
    if metric == "validation/accuracy":
        return steps(Fraction(document["correct"], document["samples"]))
    assert metric == "validation/loss", metric
    return steps(Fraction(document["loss"], document["samples"] * document["lossScale"]))


def steps(value: Fraction) -> int:
    """Return the nearest number of steps, halves to even."""
    return round(value * SCALE)


def mean(folds: Sequence[int]) -> int:
    """Return the mean over folds, in steps, halves to even."""
    return round(Fraction(sum(folds), len(folds)))


def deviation(folds: Sequence[int]) -> int | None:
    """Return the standard deviation of a sample of folds, in steps, rounded down; None for a single one."""
    count = len(folds)
    if count < 2:
        return None
    squares = sum((count * value - sum(folds)) ** 2 for value in folds)
    return isqrt(squares // (count**2 * (count - 1)))


def spelled(value: int) -> str:
    """Return the decimal spelling of steps, without trailing zeros."""
    whole, rest = divmod(abs(value), SCALE)
    digits = f"{whole}.{rest:0{DECIMALS}d}".rstrip("0").rstrip(".")
    return f"-{digits}" if value < 0 else digits


def parsed(text: str) -> int:
    """Undo `spelled`; ValueError for anything else."""
    value = Fraction(text) * SCALE
    if value.denominator != 1 or spelled(int(value)) != text:
        raise ValueError(f"not the spelling of an objective: {text!r}")
    return int(value)
