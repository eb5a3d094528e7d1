"""Learning rates as a pure function of the step, in Python float64; no state, no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeAlias


@dataclass(frozen=True, kw_only=True, slots=True)
class Constant:
    """The base rate at every step after warm-up."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """Half a cosine from the base rate down to `minimum`, reached at the last step."""

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
    """A base rate, a linear warm-up to it, and what follows."""

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
            share = 0.5 * (1.0 + math.cos(math.pi * min(since, span) / span))
            return minimum + (schedule.base - minimum) * share
        case Step(every_steps=every, factor=factor):
            return float(schedule.base * factor ** (since // every))
