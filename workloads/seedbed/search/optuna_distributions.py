"""Search spaces and their values as Optuna knows them."""

from __future__ import annotations

from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from seedbed.search.value_sampling import size
from seedbed_api.sweepjob import IntegerRange, SearchSpace


def typed(space: SearchSpace, spelling: str) -> Any:
    """Return a value of a space as Optuna knows it."""
    if space.categorical is not None:
        return spelling
    return int(spelling) if space.int_ is not None else float(spelling)


def distribution(space: SearchSpace) -> BaseDistribution:
    """Return a search space as Optuna knows it."""
    if space.categorical is not None:
        return CategoricalDistribution(space.categorical.values)
    if space.int_ is not None:
        return IntDistribution(space.int_.min, largest(space.int_), step=space.int_.step)
    scale = space.log_uniform or space.uniform
    assert scale is not None
    return FloatDistribution(float(scale.min), float(scale.max), log=space.log_uniform is not None)


def largest(space: IntegerRange) -> int:
    """Return the largest value of a range of integers: its bound may lie between two."""
    return space.min + space.step * (size(space) - 1)
