"""Whether the record of a sweep agrees with the runs that it names, where no owner vouches for it.

The record follows from the objectives of its trials. They are in the runs, so a record with other objectives
is found, as is one that names other runs or other weights. Rungs of pruned trials are not compared.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from pydantic import ValidationError

from seedbed.driver.resolve_run import stored_run
from seedbed.driver.result_check import DisagreementError, require_result
from seedbed.runs.result_file import read_result
from seedbed.search.learning_curve import Finished
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns, TrialState
from seedbed.sweeps.resolve_sweep import ResolvedSweep, trial_job
from seedbed.sweeps.sweep_record import FinishedSweep
from seedbed.sweeps.trial_runner import run_curve
from seedbed_api.errors import SeedbedError
from seedbed_api.run_identity import ExpectedIdentity
from seedbed_api.trial_recipe import trial_recipe


def run_disagreements(sweep: ResolvedSweep, finished: FinishedSweep) -> Iterator[str]:
    """Yield a line for the first trial whose runs do not give what the record says."""
    for trial in finished.trials:
        line = _problem_of(sweep, trial, finished.trial_runs[trial.index])
        if line is not None:
            yield f"trial {trial.index}: {line}"
            return


def _problem_of(sweep: ResolvedSweep, trial: DecidedTrial, runs: TrialRuns) -> str | None:
    if runs.run_ids != sweep.run_ids(dict(trial.assignments)):
        return "its runs are not those of its values"
    if trial.state is not TrialState.SUCCEEDED:
        return None
    if not len(runs.weights) == len(trial.folds) == len(sweep.fold_numbers):
        return "it has another number of folds"
    told = zip(sweep.fold_numbers, runs.weights, trial.folds, strict=True)
    problems = (_problem_of_run(sweep, trial, fold, weights, value) for fold, weights, value in told)
    return next((problem for problem in problems if problem is not None), None)


def _problem_of_run(
    sweep: ResolvedSweep, trial: DecidedTrial, fold: int | None, weights: str, value: int
) -> str | None:
    """Return what is wrong with one finished run of a trial."""
    expected = ExpectedIdentity(
        dataset_digest=sweep.dataset_digest, environment_class=sweep.environment_class
    )
    try:
        job = trial_job(sweep.job, trial_recipe(sweep.spec, dict(trial.assignments)), fold=fold)
        run = stored_run(job, replace(sweep.options, expected=expected))
        result = None if run is None else read_result(run.folder)
        if run is None or result is None:
            return "one of its runs is not there"
        require_result(run, result)
        end = run_curve(sweep, run, result).end
    except DisagreementError as error:
        return error.problem
    except (ValidationError, SeedbedError) as error:
        return " ".join(str(error).split())
    if result.outcome.weights_digest != weights:
        return "a run has other weights"
    return None if end == Finished(value=value) else "a run has another objective"
