"""MLflow entry of a sweep: the parent run of its trials' runs."""

from __future__ import annotations

from typing import Any

from seedbed.mlflow.mlflow_entries import RunEntry, experiment_of, flattened, sweep_key
from seedbed.runs.sweep_record import FinishedSweep
from seedbed.search.objective_values import SCALE, objective_goal
from seedbed.search.trial_decisions import TrialState
from seedbed.search.trial_ranking import rank_trials
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


def sweep_entry(
    job: SweepJob, *, identity: str, dataset_digest: str, environment_class: str, folder: str
) -> RunEntry:
    """Return the entry of a sweep; `folder` is the URL of its folder in the output store."""
    key = sweep_key(identity)
    about = {
        "seedbed.dataset_digest": dataset_digest,
        "seedbed.environment_class": environment_class,
        "seedbed.sweep_folder": folder,
        "mlflow.source.name": "seedbed",
    }
    asked = job.spec.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(_SPEC_FIELDS))
    return RunEntry(
        key=key,
        experiment=experiment_of(job),
        name=job.metadata.name,
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
