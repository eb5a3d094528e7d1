"""Samplers: random and grid search, and the choice of a sweep's sampler.

A proposal is a function of the sweep's seed and the trial's index; of TPE also of trials of lower index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from seedbed.search.search_space import Assignments, assign_values, is_active, random_bits, value_at
from seedbed.search.sobol_sampler import SobolSampler
from seedbed.search.trial_decisions import DecidedTrial
from seedbed_api.sweepjob import Parameter, SearchSpace, SweepJobSpec


class Sampler(Protocol):
    """Proposes the values of each trial."""

    @property
    def total(self) -> int:
        """Number of trials, if nothing ends the sweep earlier."""

    def trials_needed(self, index: int) -> int:
        """Return how many trials, from index 0 on, must be decided before this one can be proposed."""

    def propose(self, index: int, decided: Sequence[DecidedTrial]) -> Assignments:
        """Return the values of a trial; `decided` holds at least the first `trials_needed(index)` trials."""


def create_sampler(spec: SweepJobSpec) -> Sampler:
    """Return the sampler of a sweep. Without parameters there is one trial: the template itself."""
    parameters, seed = spec.parameters, spec.algorithm.seed
    total = spec.max_trial_count if parameters else 1
    if spec.algorithm.type == "Grid":
        return GridSampler.of(parameters, total)
    if spec.algorithm.type == "Sobol":
        return SobolSampler(parameters=parameters, seed=seed, total=total)
    if spec.algorithm.tpe is None:
        return RandomSampler(parameters=parameters, seed=seed, total=total)
    from seedbed.search.tpe_sampler import TPESampler  # Optuna takes 0.1 s to import

    return TPESampler(
        parameters=parameters,
        seed=seed,
        total=total,
        generation_size=spec.algorithm.tpe.generation_size,
        maximize=spec.objective.direction == "Maximize",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomSampler:
    """Independent random values for each trial."""

    parameters: tuple[Parameter, ...]
    seed: int
    total: int

    def trials_needed(self, index: int) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def propose(self, index: int, decided: Sequence[DecidedTrial] = ()) -> Assignments:  # noqa: ARG002
        """Return the values of a trial."""
        return assign_values(self.parameters, partial(self._draw, index))

    def _draw(self, index: int, parameter: Parameter) -> str:
        """Draw by name: adding or reordering parameters changes no other value.

        Each value of a categorical draws its own bits: a new value changes only the trials that get it.
        """
        space = parameter.search_space
        if space.categorical is None:
            return value_at(space, random_bits("random", self.seed, index, parameter.name))
        lots = partial(random_bits, "random", self.seed, index, parameter.name)
        return max(space.categorical.values, key=lots)


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSampler:
    """The full cross product, the last parameter fastest."""

    trials: tuple[Assignments, ...]

    @classmethod
    def of(cls, parameters: Sequence[Parameter], most: int) -> GridSampler:
        """Return the sampler of the first `most` points of a grid."""
        return cls(trials=tuple(islice(grid_assignments(parameters), most)))

    @property
    def total(self) -> int:
        """Number of points."""
        return len(self.trials)

    def trials_needed(self, index: int) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def propose(self, index: int, decided: Sequence[DecidedTrial] = ()) -> Assignments:  # noqa: ARG002
        """Return the values of a trial."""
        return self.trials[index]


def grid_assignments(parameters: Sequence[Parameter]) -> Iterator[Assignments]:
    """Yield each point once: a parameter whose condition does not hold has no values."""
    return _extended(parameters, {})


def count_grid(parameters: Sequence[Parameter], most: int) -> int:
    """Return how many points a grid has, counting up to `most`."""
    return sum(1 for _ in islice(grid_assignments(parameters), most))


def all_values(space: SearchSpace) -> Iterable[str]:
    """Return all values of a categorical or integer space."""
    if space.categorical is not None:
        return space.categorical.values
    assert space.int_ is not None, "the API rejects a grid over a continuous space"
    return map(str, range(space.int_.min, space.int_.max + 1, space.int_.step))


def _extended(parameters: Sequence[Parameter], values: Mapping[str, str]) -> Iterator[Assignments]:
    if not parameters:
        yield tuple(values.items())
        return
    first, *rest = parameters
    if not is_active(first, values):
        yield from _extended(rest, values)
        return
    for value in all_values(first.search_space):
        yield from _extended(rest, {**values, first.name: value})
