"""TPE sampler: Optuna's, asked for one generation of trials at a time.

A generation is a function of seed, generation and the trials of earlier generations: a fresh sampler each
time, whose random numbers are numpy's RandomState, a stream that is the same in all versions. Its results
may differ by Optuna's version and the CPU: both are part of the sweep's identity. Pruned trials count with
their last rung, failed ones are ignored. Until ten trials have not failed, the random sampler proposes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any, Final

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, create_trial

from seedbed.search.objective_values import SCALE
from seedbed.search.samplers import RandomSampler
from seedbed.search.search_space import Assignments, assign_values, count_values, nearest_value, random_bits
from seedbed.search.trial_decisions import DecidedTrial, TrialState
from seedbed_api.canonical_json import digest_of
from seedbed_api.sweepjob import IntegerRange, Parameter, SearchSpace

STARTUP_TRIALS: Final = 10
"""Trials that have not failed, before Optuna is asked."""

_STATES: Final = {
    TrialState.SUCCEEDED: optuna.trial.TrialState.COMPLETE,
    TrialState.PRUNED: optuna.trial.TrialState.PRUNED,
    TrialState.FAILED: optuna.trial.TrialState.FAIL,
}


@dataclass(kw_only=True, eq=False)
class TPESampler:
    """Proposes trials by generations; its caches save time and change nothing."""

    parameters: tuple[Parameter, ...]
    seed: int
    total: int
    generation_size: int
    maximize: bool
    _generations: dict[int, tuple[Assignments, ...]] = field(default_factory=dict)
    _study: optuna.Study | None = None
    _added: list[DecidedTrial] = field(default_factory=list)
    """Trials that `_study` holds."""

    def trials_needed(self, index: int) -> int:
        """Return the first index of the generation."""
        return index // self.generation_size * self.generation_size

    def propose(self, index: int, decided: Sequence[DecidedTrial]) -> Assignments:
        """Return the values of a trial, given at least all trials of earlier generations."""
        first = self.trials_needed(index)
        assert len(decided) >= first, (index, len(decided))
        if first not in self._generations:
            self._generations[first] = self._generation(first, decided[:first])
        return self._generations[first][index - first]

    def _generation(self, first: int, decided: Sequence[DecidedTrial]) -> tuple[Assignments, ...]:
        indices = range(first, min(first + self.generation_size, self.total))
        if sum(trial.state is not TrialState.FAILED for trial in decided) < STARTUP_TRIALS:
            by_chance = RandomSampler(parameters=self.parameters, seed=self.seed, total=self.total)
            return tuple(by_chance.propose(index) for index in indices)
        study = self._study_of(decided)
        study.sampler = optuna.samplers.TPESampler(
            seed=random_bits("tpe", self.seed, first) >> 32, n_startup_trials=0
        )
        trials = [study.ask() for _ in indices]
        points = tuple(assign_values(self.parameters, partial(_suggested, trial)) for trial in trials)
        for trial in trials:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)  # they are added when decided
        return points

    def _study_of(self, decided: Sequence[DecidedTrial]) -> optuna.Study:
        """Return a study of exactly these trials; new ones are added to the study of the call before."""
        if self._study is None or self._added != decided[: len(self._added)]:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            way = StudyDirection.MAXIMIZE if self.maximize else StudyDirection.MINIMIZE
            self._study, self._added = optuna.create_study(direction=way), []
        spaces = {parameter.name: parameter.search_space for parameter in self.parameters}
        self._study.add_trials([_frozen(trial, spaces) for trial in decided[len(self._added) :]])
        self._added = list(decided)
        return self._study


def _frozen(trial: DecidedTrial, spaces: Mapping[str, SearchSpace]) -> FrozenTrial:
    value = None if trial.objective is None else trial.objective / SCALE
    return create_trial(
        state=_STATES[trial.state],
        value=value,
        params={name: optuna_value(spaces[name], spelling) for name, spelling in trial.assignments},
        distributions={name: optuna_distribution(spaces[name]) for name, _ in trial.assignments},
        intermediate_values={epoch: reached / SCALE for epoch, reached in trial.rungs},
    )


def _suggested(trial: optuna.Trial, parameter: Parameter) -> str:
    """Return the sampler's value in canonical spelling, as it is trained and later added to the study."""
    name, space = parameter.name, parameter.search_space
    if space.categorical is not None:
        return str(trial.suggest_categorical(name, space.categorical.values))
    if space.int_ is not None:
        return str(trial.suggest_int(name, space.int_.min, largest_value(space.int_), step=space.int_.step))
    scale = space.log_uniform or space.uniform
    assert scale is not None
    number = trial.suggest_float(name, float(scale.min), float(scale.max), log=space.log_uniform is not None)
    return nearest_value(scale, Decimal(number))


def numeric_probe() -> str:
    """Return a digest of the functions that the sampler computes with, as this machine computes them.

    Their last bits, and the order in which equals are sorted, depend on the vector units of the CPU; which
    candidate is best may depend on them.
    """
    places = np.linspace(-8.0, 8.0, 4097)
    parts = [np.exp(places), np.log(places + 9), np.log1p(places + 9), np.exp(-places).sum(keepdims=True)]
    orders = [np.argsort(np.floor(places[:size])) for size in (17, 65, 257, 4097)]
    parts += [order.astype(np.float64) for order in orders]
    return digest_of(b"".join(part.astype("<f8").tobytes() for part in parts))


def optuna_value(space: SearchSpace, spelling: str) -> Any:
    """Return a value as Optuna's type."""
    if space.categorical is not None:
        return spelling
    return int(spelling) if space.int_ is not None else float(spelling)


def optuna_distribution(space: SearchSpace) -> BaseDistribution:
    """Return a search space as Optuna's distribution."""
    if space.categorical is not None:
        return CategoricalDistribution(space.categorical.values)
    if space.int_ is not None:
        return IntDistribution(space.int_.min, largest_value(space.int_), step=space.int_.step)
    scale = space.log_uniform or space.uniform
    assert scale is not None
    return FloatDistribution(float(scale.min), float(scale.max), log=space.log_uniform is not None)


def largest_value(space: IntegerRange) -> int:
    """Return the largest value of an integer range: the bound itself may not be a value."""
    return space.min + space.step * (count_values(space) - 1)
