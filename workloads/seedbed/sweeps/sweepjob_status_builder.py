"""From what is known of a sweep to the status of its SweepJob, the same that Kubernetes shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from seedbed.driver.trainingjob_status_builder import (
    complete_conditions,
    failed_conditions,
    suspended_conditions,
)
from seedbed.search.objective_values import objective_goal
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns
from seedbed.search.trial_ranking import best_trials, count_trials, trial_status
from seedbed.sweeps.resolve_sweep import Sweep
from seedbed.sweeps.sweep_record import FinishedSweep
from seedbed_api.conditions import Condition
from seedbed_api.errors import SeedbedError
from seedbed_api.sweepjob import SweepJob
from seedbed_api.sweepjob_status import SweepJobStatus, Trial
from seedbed_api.timestamps import lasted, written
from seedbed_api.trainingjob_status import DatasetStatus, Environment, ModelStatus, ObjectStatus

MOST_BYTES_OF_ROWS = 32 * 1024
"""Of the best trials in a status; a sweep adds at most 64 KiB to its object in the API server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Told:
    """What a status is made of."""

    started: datetime
    now: datetime
    job: SweepJob | None = None
    """None where the manifest was refused."""
    output: str = ""
    """URL of the output store, safe to print."""
    trials: Sequence[DecidedTrial] = ()
    trial_runs: Mapping[int, TrialRuns] | None = None
    reused: int = 0
    running: int = 0
    planned: int = 0
    """Trials that the sweep has at most; 0 while that is not known."""
    sweep: Sweep | None = None
    """None until it has a name."""
    finished: FinishedSweep | None = None
    computed_here: bool = False
    """False where the ledger was there before."""
    failure: SeedbedError | None = None


def status_of(told: Told) -> SweepJobStatus:
    """Return the status."""
    rows = _rows(told)
    over = told.finished is not None or told.failure is not None
    return SweepJobStatus(
        sweep_id=told.sweep.identity if told.sweep else None,
        environment=Environment(class_=told.sweep.environment_class) if told.sweep else None,
        backend="Local",
        dataset=dataset_status(told.sweep) if told.sweep else None,
        start_time=written(told.started),
        completion_time=written(told.now) if over else None,
        duration=lasted(told.started, told.now) if over else None,
        trials=count_trials(told.trials, running=told.running, reused=told.reused, planned=told.planned),
        best_trial=rows[0] if rows else None,
        top_trials=tuple(rows),
        ledger=None if told.finished is None else _ledger(told.finished),
        conditions=_conditions(told),
    )


def refused_status(error: SeedbedError) -> SweepJobStatus:
    """Return the status of a sweep whose manifest was refused."""
    now = datetime.now(UTC)
    return status_of(Told(started=now, now=now, failure=error))


def dataset_status(sweep: Sweep) -> DatasetStatus:
    """Return the dataset as the sweep found it."""
    return DatasetStatus(digest=sweep.dataset_digest, samples=sweep.samples)


def _ledger(finished: FinishedSweep) -> ObjectStatus:
    return ObjectStatus(uri=finished.uri, digest=finished.digest)


def _rows(told: Told) -> list[Trial]:
    if told.job is None:
        return []
    trial_runs = told.trial_runs or {}
    best = best_trials(told.trials, objective_goal(told.job.spec.objective))
    return _fitting(
        _row(trial, trial_runs.get(trial.index, TrialRuns()), output=told.output) for trial in best
    )


def _fitting(rows: Iterable[Trial]) -> list[Trial]:
    """Return as many of the best as there is room for, the best of all in any case."""
    kept: list[Trial] = []
    room = MOST_BYTES_OF_ROWS
    for row in rows:
        room -= len(row.model_dump_json(by_alias=True, exclude_none=True))
        if kept and room < 0:
            break
        kept.append(row)
    return kept


def _row(trial: DecidedTrial, trial_runs: TrialRuns, *, output: str) -> Trial:
    run = trial_runs.run_ids[0] if trial_runs.run_ids else None
    model = None
    if run is not None and trial_runs.weights:
        uri = f"{output}/runs/{run.removeprefix('sha256:')}/model"
        model = ModelStatus(uri=uri, weights_digest=trial_runs.weights[0])
    return trial_status(trial, run_id=run, model=model)


def _conditions(told: Told) -> tuple[Condition, ...]:
    if told.failure is not None:
        return failed_conditions(told.now, told.failure)
    if told.finished is not None:
        return complete_conditions(told.now, computed_here=told.computed_here)
    return suspended_conditions(
        told.now, "stopped; every trial under way has kept its state; the same command continues"
    )
