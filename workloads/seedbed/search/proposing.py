"""What each trial tries: a function of the sweep's seed and the index, for TPE also of earlier trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from seedbed.search.decisions import Decided
from seedbed.search.drawing import value_at, word
from seedbed.search.points import Point, assembled
from seedbed_api.sweepjob import Parameter, SweepJobSpec


class Proposer(Protocol):
    """A way to search."""

    @property
    def total(self) -> int:
        """How many trials there are, if nothing ends the sweep before."""

    def needs(self, index: int) -> int:
        """Return how many trials, from index 0 on, must be decided before this one can be proposed."""

    def propose(self, index: int, told: Sequence[Decided]) -> Point:
        """Return what a trial tries; `told` are at least the `needs(index)` first trials, by index."""


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


def proposer(spec: SweepJobSpec) -> Proposer:
    """Return the way to search of a sweep. Without parameters there is one trial: the template itself."""
    total = spec.max_trial_count if spec.parameters else 1
    return RandomSearch(parameters=spec.parameters, seed=spec.algorithm.seed, total=total)
