"""Grid search: the full cross product, the last parameter fastest; what does not exist multiplies nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from seedbed.search.assignments import Point, is_active
from seedbed.search.trial_decisions import Decided
from seedbed_api.sweepjob import Parameter, SearchSpace


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
