"""How much each parameter matters: figures for the report, which decide nothing.

PED-ANOVA (S. Watanabe, A. Bansal, F. Hutter, IJCAI 2023), as Optuna computes it: how unlike the values of the
better half of the trials are to those of all. Trials are compared after equally many epochs: where some were
ended early by their first rung, which all have in common, else by their end.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Final

import optuna
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.study import StudyDirection
from optuna.trial import create_trial

from seedbed.search.objective_values import SCALE
from seedbed.search.tpe_search import distribution, typed
from seedbed.search.trial_decisions import Decided
from seedbed_api.sweepjob import SweepJobSpec

BEST: Final = 0.5
"""Part of the trials that is held against all: a smaller one asks what makes the best better still."""
FEWEST: Final = 10
"""Trials with a parameter, below which nothing is said about it."""
MOST: Final = 1000
"""Trials that are looked at, the first ones: more take long and change little."""


def importance(spec: SweepJobSpec, trials: Sequence[Decided]) -> dict[str, float]:
    """Return the share of each parameter, largest first, in sum 1; without those that too few trials have.

    A conditional parameter is judged among the trials that have it, and counts for as large a part of all.
    """
    measured = [trial for trial in trials if _value(trial) is not None][:MOST]
    study, raw = _study(spec, measured), {}
    for parameter in spec.parameters:
        having = [trial for trial in measured if parameter.name in dict(trial.point)]
        if len(having) >= FEWEST:
            raw[parameter.name] = len(having) / len(measured) * _unlikeness(study, parameter.name)
    total = sum(raw.values())
    shares = {name: part / total for name, part in raw.items()} if total else {}
    return dict(sorted(shares.items(), key=lambda row: -row[1]))


def _value(trial: Decided) -> int | None:
    return trial.rungs[0][1] if trial.rungs else trial.objective


def _study(spec: SweepJobSpec, trials: Sequence[Decided]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    upwards = spec.objective.direction == "Maximize"
    study = optuna.create_study(direction=StudyDirection.MAXIMIZE if upwards else StudyDirection.MINIMIZE)
    spaces = {parameter.name: parameter.search_space for parameter in spec.parameters}
    known = {name: distribution(space) for name, space in spaces.items()}
    study.add_trials(
        [
            create_trial(
                value=(_value(trial) or 0) / SCALE,
                params={name: typed(spaces[name], value) for name, value in trial.point},
                distributions={name: known[name] for name, _ in trial.point},
            )
            for trial in trials
        ]
    )
    return study


def _unlikeness(study: optuna.Study, name: str) -> float:
    """Return how unlike the better trials are to all that have a parameter, on no particular scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that many are equally good; then there is no difference to tell
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BEST)
        parts = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=[name], normalize=False
        )
    return max(0.0, parts[name])
