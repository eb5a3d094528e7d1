"""TPE: Optuna's sampler, asked for a generation at a time and told the trials of all earlier ones by index.

A generation is a function of (seed, generation, what is told): the sampler is a fresh one each time, its
random numbers are numpy's RandomState, a stream that no version changes. What it makes of them may change
with its version and the CPU: both are part of the sweep's identity. Trials that were ended early are told
with their last rung; failed ones as failed, which it passes over. Until ten did not fail, Random draws.
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
from optuna.trial import FrozenTrial, TrialState, create_trial

from seedbed.search.objective_values import SCALE
from seedbed.search.samplers import RandomSearch
from seedbed.search.search_space import Point, assembled, nearest, size, word
from seedbed.search.trial_decisions import Decided, State
from seedbed_api.canonical_json import digest_of
from seedbed_api.sweepjob import IntegerRange, Parameter, SearchSpace

LEARNS_FROM: Final = 10
"""Trials that did not fail before the sampler is asked."""

_STATES: Final = {
    State.SUCCEEDED: TrialState.COMPLETE,
    State.PRUNED: TrialState.PRUNED,
    State.FAILED: TrialState.FAIL,
}


@dataclass(kw_only=True, eq=False)
class TPESearch:
    """Generations of proposals. What it remembers saves time and decides nothing."""

    parameters: tuple[Parameter, ...]
    seed: int
    total: int
    generation_size: int
    maximize: bool
    _known: dict[int, tuple[Point, ...]] = field(default_factory=dict)
    _study: optuna.Study | None = None
    _told: list[Decided] = field(default_factory=list)
    """The trials that the study was told."""

    def needs(self, index: int) -> int:
        """Return the first index of the generation."""
        return index // self.generation_size * self.generation_size

    def propose(self, index: int, told: Sequence[Decided]) -> Point:
        """Return the point of a trial, given at least all trials of earlier generations."""
        first = self.needs(index)
        assert len(told) >= first, (index, len(told))
        if first not in self._known:
            self._known[first] = self._generation(first, told[:first])
        return self._known[first][index - first]

    def _generation(self, first: int, told: Sequence[Decided]) -> tuple[Point, ...]:
        indices = range(first, min(first + self.generation_size, self.total))
        if sum(trial.state is not State.FAILED for trial in told) < LEARNS_FROM:
            by_chance = RandomSearch(parameters=self.parameters, seed=self.seed, total=self.total)
            return tuple(by_chance.propose(index) for index in indices)
        study = self._informed(told)
        study.sampler = optuna.samplers.TPESampler(
            seed=word("tpe", self.seed, first) >> 32, n_startup_trials=0
        )
        trials = [study.ask() for _ in indices]
        points = tuple(assembled(self.parameters, partial(_suggested, trial)) for trial in trials)
        for trial in trials:
            study.tell(trial, state=TrialState.FAIL)  # the real ones are added when they are decided
        return points

    def _informed(self, told: Sequence[Decided]) -> optuna.Study:
        """Return a study that was told exactly these trials; it only has to be told those that are new."""
        if self._study is None or self._told != told[: len(self._told)]:
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            way = StudyDirection.MAXIMIZE if self.maximize else StudyDirection.MINIMIZE
            self._study, self._told = optuna.create_study(direction=way), []
        spaces = {parameter.name: parameter.search_space for parameter in self.parameters}
        self._study.add_trials([_frozen(trial, spaces) for trial in told[len(self._told) :]])
        self._told = list(told)
        return self._study


def _frozen(trial: Decided, spaces: Mapping[str, SearchSpace]) -> FrozenTrial:
    value = None if trial.objective is None else trial.objective / SCALE
    return create_trial(
        state=_STATES[trial.state],
        value=value,
        params={name: typed(spaces[name], spelling) for name, spelling in trial.point},
        distributions={name: distribution(spaces[name]) for name, _ in trial.point},
        intermediate_values={epoch: reached / SCALE for epoch, reached in trial.rungs},
    )


def _suggested(trial: optuna.Trial, parameter: Parameter) -> str:
    """Return the sampler's value as it is trained, which is also how it will be told."""
    name, space = parameter.name, parameter.search_space
    if space.categorical is not None:
        return str(trial.suggest_categorical(name, space.categorical.values))
    if space.int_ is not None:
        return str(trial.suggest_int(name, space.int_.min, largest(space.int_), step=space.int_.step))
    scale = space.log_uniform or space.uniform
    assert scale is not None
    number = trial.suggest_float(name, float(scale.min), float(scale.max), log=space.log_uniform is not None)
    return nearest(scale, Decimal(number))


def probe() -> str:
    """Return a digest of the functions that the sampler computes with, as this machine computes them.

    Their last bits, and the order in which equals are sorted, depend on the vector units of the CPU; which
    candidate is best may depend on them.
    """
    places = np.linspace(-8.0, 8.0, 4097)
    parts = [np.exp(places), np.log(places + 9), np.log1p(places + 9), np.exp(-places).sum(keepdims=True)]
    orders = [np.argsort(np.floor(places[:size])) for size in (17, 65, 257, 4097)]
    parts += [order.astype(np.float64) for order in orders]
    return digest_of(b"".join(part.astype("<f8").tobytes() for part in parts))


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
