"""What each trial tries: a function of the sweep's seed and the index, for TPE also of earlier trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from seedbed.search.assignments import Point
from seedbed.search.grid_search import GridSearch
from seedbed.search.random_search import RandomSearch
from seedbed.search.sobol_search import SobolSearch
from seedbed.search.trial_decisions import Decided
from seedbed_api.sweepjob import SweepJobSpec


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
