"""Importance of each parameter for the objective, for the report. Nothing is decided here.

PED-ANOVA (S. Watanabe, A. Bansal, F. Hutter, IJCAI 2023), as Optuna computes it: how much the values of the
better half of the trials differ from those of all. Trials are compared after equally many epochs: at their
first rung if trials were pruned, else at their end.
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
from seedbed.search.tpe_sampler import optuna_distribution, optuna_value
from seedbed.search.trial_decisions import DecidedTrial
from seedbed_api.sweepjob import SweepJobSpec

BETTER_SHARE: Final = 0.5
"""Share of the trials that is compared with all of them."""
MIN_TRIALS: Final = 10
"""Fewest trials with a parameter for which its importance is computed."""
MAX_TRIALS: Final = 1000
"""Trials that are compared, the first ones: more take long and change little."""


def parameter_importance(spec: SweepJobSpec, trials: Sequence[DecidedTrial]) -> dict[str, float]:
    """Return the importance of each parameter that enough trials have, largest first, in sum 1.

    A conditional parameter is judged among the trials that have it, weighted by their share of all trials.
    """
    measured = [trial for trial in trials if _value(trial) is not None][:MAX_TRIALS]
    study, raw = _study(spec, measured), {}
    for parameter in spec.parameters:
        having = [trial for trial in measured if parameter.name in dict(trial.assignments)]
        if len(having) >= MIN_TRIALS:
            raw[parameter.name] = len(having) / len(measured) * _difference(study, parameter.name)
    total = sum(raw.values())
    shares = {name: part / total for name, part in raw.items()} if total else {}
    return dict(sorted(shares.items(), key=lambda row: -row[1]))


def _value(trial: DecidedTrial) -> int | None:
    return trial.rungs[0][1] if trial.rungs else trial.objective


def _study(spec: SweepJobSpec, trials: Sequence[DecidedTrial]) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    upwards = spec.objective.direction == "Maximize"
    study = optuna.create_study(direction=StudyDirection.MAXIMIZE if upwards else StudyDirection.MINIMIZE)
    spaces = {parameter.name: parameter.search_space for parameter in spec.parameters}
    known = {name: optuna_distribution(space) for name, space in spaces.items()}
    study.add_trials(
        [
            create_trial(
                value=(_value(trial) or 0) / SCALE,
                params={name: optuna_value(spaces[name], value) for name, value in trial.assignments},
                distributions={name: known[name] for name, _ in trial.assignments},
            )
            for trial in trials
        ]
    )
    return study


def _difference(study: optuna.Study, name: str) -> float:
    """Return how much the better trials differ from all that have a parameter, on no particular scale."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # many equal objectives: then there is no difference
        evaluator = PedAnovaImportanceEvaluator(target_quantile=BETTER_SHARE)
        parts = optuna.importance.get_param_importances(
            study, evaluator=evaluator, params=[name], normalize=False
        )
    return max(0.0, parts[name])
