"""Learning rate schedules: the rate as a pure function of the step, in float64; imports no torch.

Every operation is correctly rounded, so all machines compute the same bits; rates are part of identities.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from seedbed.arithmetic.correct_rounding import cosine, power


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """The base rate at every step after warm-up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Half a cosine from the base rate to `minimum`, which is reached at the last step."""

    minimum: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """The base rate times factor ** (steps since warm-up // every_steps)."""

    every_steps: int
    factor: float

    def __post_init__(self) -> None:
        if self.every_steps < 1:
            raise ValueError(f"every_steps must be at least 1, got {self.every_steps}")


Decay: TypeAlias = Constant | Cosine | Step


@dataclass(frozen=True, kw_only=True, slots=True)
class LearningRate:
    """A base rate, a linear warm-up to it, and the decay after it."""

    base: float
    warmup_steps: int = 0
    """Step i < warmup_steps runs at base · (i + 1) / warmup_steps."""
    decay: Decay = field(default_factory=Constant)


def learning_rate(schedule: LearningRate, step: int, total_steps: int) -> float:
    """Return the rate of 0-based `step`. A constant or step schedule does not depend on `total_steps`."""
    if step < schedule.warmup_steps:
        return schedule.base * (step + 1) / schedule.warmup_steps
    since = step - schedule.warmup_steps
    match schedule.decay:
        case Constant():
            return schedule.base
        case Cosine(minimum=minimum):
            span = max(total_steps - schedule.warmup_steps - 1, 1)
            share = 0.5 * (1.0 + cosine(math.pi * min(since, span) / span))
            return minimum + (schedule.base - minimum) * share
        case Step(every_steps=every, factor=factor):
            return schedule.base * power(factor, since // every)


_computed: dict[tuple[LearningRate, int], array[float]] = {}


def learning_rates(schedule: LearningRate, steps: int, total_steps: int) -> Sequence[float]:
    """Return the rates of the first `steps` steps; those computed before come from a cache."""
    key = (schedule, total_steps)
    known = _computed.get(key, array("d"))
    if len(known) < steps:
        further = [learning_rate(schedule, step, total_steps) for step in range(len(known), steps)]
        known = known + array("d", further)  # a new array: another thread may read the old one
        _computed.clear()  # one run is enough: the runs of a sweep train one after the other in a process
        _computed[key] = known
    return known[:steps]
