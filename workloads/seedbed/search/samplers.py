"""What each trial tries: a function of the sweep's seed and the index, for TPE also of earlier trials."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Protocol

from seedbed.search.search_space import Point, assembled, is_active, value_at, word
from seedbed.search.sobol_search import SobolSearch
from seedbed.search.trial_decisions import Decided
from seedbed_api.sweepjob import Parameter, SearchSpace, SweepJobSpec


class Proposer(Protocol):
    """A way to search."""

    @property
    def total(self) -> int:
        """How many trials there are, if nothing ends the sweep before."""

    def needs(self, index: int) -> int:
        """Return how many trials, from index 0 on, must be decided before this one can be proposed."""

    def propose(self, index: int, told: Sequence[Decided]) -> Point:
        """Return what a trial tries; `told` are at least the `needs(index)` first trials, by index."""


def proposer(spec: SweepJobSpec) -> Proposer:
    """Return the way to search of a sweep. Without parameters there is one trial: the template itself."""
    parameters, seed = spec.parameters, spec.algorithm.seed
    total = spec.max_trial_count if parameters else 1
    if spec.algorithm.type == "Grid":
        return GridSearch.of(parameters, total)
    if spec.algorithm.type == "Sobol":
        return SobolSearch(parameters=parameters, seed=seed, total=total)
    if spec.algorithm.tpe is None:
        return RandomSearch(parameters=parameters, seed=seed, total=total)
    from seedbed.search.tpe_search import TPESearch  # Optuna takes a third of a second to import

    return TPESearch(
        parameters=parameters,
        seed=seed,
        total=total,
        generation_size=spec.algorithm.tpe.generation_size,
        maximize=spec.objective.direction == "Maximize",
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomSearch:
    """Values drawn for each trial by themselves."""

    parameters: tuple[Parameter, ...]
    seed: int
    total: int

    def needs(self, index: int) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def propose(self, index: int, told: Sequence[Decided] = ()) -> Point:  # noqa: ARG002
        """Return the point of a trial."""
        return assembled(self.parameters, partial(self._draw, index))

    def _draw(self, index: int, parameter: Parameter) -> str:
        """Draw by name, so that a parameter more, or another order of them, moves no other value.

        Each value of a categorical draws its own lot: one value more changes only the trials that get it.
        """
        space = parameter.search_space
        if space.categorical is None:
            return value_at(space, word("random", self.seed, index, parameter.name))
        lots = partial(word, "random", self.seed, index, parameter.name)
        return max(space.categorical.values, key=lots)


@dataclass(frozen=True, kw_only=True, slots=True)
class GridSearch:
    """The points of a grid, by index."""

    points: tuple[Point, ...]

    @classmethod
    def of(cls, parameters: Sequence[Parameter], most: int) -> GridSearch:
        """Return the search of a grid of at most so many points."""
        return cls(points=tuple(islice(grid_points(parameters), most)))

    @property
    def total(self) -> int:
        """How many points there are."""
        return len(self.points)

    def needs(self, index: int) -> int:  # noqa: ARG002
        """Return 0."""
        return 0

    def propose(self, index: int, told: Sequence[Decided] = ()) -> Point:  # noqa: ARG002
        """Return the point of a trial."""
        return self.points[index]


def grid_points(parameters: Sequence[Parameter]) -> Iterator[Point]:
    """Yield each point once: a parameter whose condition does not hold multiplies nothing."""
    return _extended(parameters, {})


def count_points(parameters: Sequence[Parameter], most: int) -> int:
    """Return how many points a grid has, at most `most`."""
    return sum(1 for _ in islice(grid_points(parameters), most))


def options(space: SearchSpace) -> Iterable[str]:
    """Return all values of a space that can be counted."""
    if space.categorical is not None:
        return space.categorical.values
    assert space.int_ is not None, "the API refuses it"
    return map(str, range(space.int_.min, space.int_.max + 1, space.int_.step))


def _extended(parameters: Sequence[Parameter], values: Mapping[str, str]) -> Iterator[Point]:
    if not parameters:
        yield tuple(values.items())
        return
    first, *rest = parameters
    if not is_active(first, values):
        yield from _extended(rest, values)
        return
    for value in options(first.search_space):
        yield from _extended(rest, {**values, first.name: value})
