"""MLflow entry of a sweep: the parent run of its trials' runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from seedbed.driver.mlflow_run_entry import SweepMembership
from seedbed.mlflow.mlflow_entries import RunEntry, experiment_of, flattened, sweep_key
from seedbed.mlflow.run_recorder import RunRecorder, open_recorder
from seedbed.search.objective_values import SCALE, objective_goal
from seedbed.search.trial_decisions import TrialState
from seedbed.search.trial_ranking import rank_trials
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_record import FinishedSweep
from seedbed_api.sweepjob import SweepJob

_SPEC_FIELDS = (
    "objective",
    "algorithm",
    "cross_validation",
    "early_stopping",
    "parameters",
    "max_trial_count",
)
"""Fields of the spec that become parameters of the entry; those of the recipe belong to the trials."""


def sweep_membership(sweep: ResolvedSweep, *, trial: int, fold: int | None) -> SweepMembership:
    """Return the place of a trial's run in its sweep."""
    return SweepMembership(
        experiment=experiment_of(sweep.job), sweep_id=sweep.identity, trial=trial, fold=fold
    )


def sweep_recording(sweep: ResolvedSweep, notice: Callable[[str], None]) -> RunRecorder | None:
    """Return the recorder of a sweep; None without an MLflow server."""
    return open_recorder(lambda: _entry(sweep), sweep.options.output_secret, notice)


def _entry(sweep: ResolvedSweep) -> RunEntry:
    key = sweep_key(sweep.identity)
    about = {
        "seedbed.dataset_digest": sweep.dataset_digest,
        "seedbed.environment_class": sweep.environment_class,
        "seedbed.sweep_folder": sweep.folder().url,
        "mlflow.source.name": "seedbed",
    }
    asked = sweep.spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(_SPEC_FIELDS))
    return RunEntry(
        key=key,
        experiment=experiment_of(sweep.job),
        name=sweep.job.metadata.name,
        tags=key | about,
        params=flattened(asked),
    )


def final_fields(job: SweepJob, finished: FinishedSweep | None) -> dict[str, Any] | None:
    """Return the fields that the end of a sweep adds to its entry, and the pruned runs to close."""
    if finished is None:
        return None
    pruned = [trial.index for trial in finished.trials if trial.state is TrialState.PRUNED]
    abandoned = tuple(run for index in pruned for run in finished.trial_runs[index].run_ids)
    tags = {"seedbed.ledger_digest": finished.digest}
    best = next(iter(rank_trials(finished.trials, objective_goal(job.spec.objective))), None)
    if best is None:
        return {"tags": tags, "abandoned": abandoned}
    weights = finished.trial_runs[best.index].weights
    tags |= {"seedbed.best_trial": str(best.index)}
    tags |= {"seedbed.weights_digest": weights[0]} if len(weights) == 1 else {}
    return {
        "tags": tags,
        "abandoned": abandoned,
        "results": {f"best/{job.spec.objective.metric}": (best.objective or 0) / SCALE},
        "step": len(finished.trials),
    }
