"""Random search: values drawn for each trial by themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from seedbed.search.assignments import Point, assembled
from seedbed.search.trial_decisions import Decided
from seedbed.search.value_sampling import value_at, word
from seedbed_api.sweepjob import Parameter


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
