"""Builds the status of a SweepJob, the same that Kubernetes shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from seedbed.driver.trainingjob_status_builder import (
    complete_conditions,
    failed_conditions,
    suspended_conditions,
)
from seedbed.runs.sweep_record import FinishedSweep
from seedbed.search.objective_values import objective_goal
from seedbed.search.trial_decisions import DecidedTrial, TrialRuns
from seedbed.search.trial_ranking import best_trials, count_trials, trial_status
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed_api.conditions import Condition
from seedbed_api.errors import SeedbedError
from seedbed_api.sweepjob import SweepJob
from seedbed_api.sweepjob_status import SweepJobStatus, Trial
from seedbed_api.timestamps import format_time, lasted
from seedbed_api.trainingjob_status import DatasetStatus, Environment, ModelStatus, ObjectStatus

MAX_ROW_BYTES = 32 * 1024
"""Of the best trials in a status: a sweep adds at most 64 KiB to its object in the API server."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepStatusInputs:
    """Inputs of a status."""

    started: datetime
    now: datetime
    job: SweepJob | None = None
    """None if the manifest was rejected."""
    output: str = ""
    """URL of the output store, safe to print."""
    trials: Sequence[DecidedTrial] = ()
    trial_runs: Mapping[int, TrialRuns] | None = None
    reused: int = 0
    running: int = 0
    planned: int = 0
    """Number of trials if nothing ends the sweep earlier; 0 while it is unknown."""
    sweep: ResolvedSweep | None = None
    """None until it is resolved."""
    finished: FinishedSweep | None = None
    computed_here: bool = False
    """False if the sweep was finished before."""
    failure: SeedbedError | None = None


def build_sweep_status(inputs: SweepStatusInputs) -> SweepJobStatus:
    """Return the status."""
    rows = _rows(inputs)
    over = inputs.finished is not None or inputs.failure is not None
    return SweepJobStatus(
        sweep_id=inputs.sweep.identity if inputs.sweep else None,
        environment=Environment(class_=inputs.sweep.environment_class) if inputs.sweep else None,
        backend="Local",
        dataset=dataset_status(inputs.sweep) if inputs.sweep else None,
        start_time=format_time(inputs.started),
        completion_time=format_time(inputs.now) if over else None,
        duration=lasted(inputs.started, inputs.now) if over else None,
        trials=count_trials(
            inputs.trials, running=inputs.running, reused=inputs.reused, planned=inputs.planned
        ),
        best_trial=rows[0] if rows else None,
        top_trials=tuple(rows),
        ledger=None if inputs.finished is None else _ledger(inputs.finished),
        conditions=_conditions(inputs),
    )


def rejected_status(error: SeedbedError) -> SweepJobStatus:
    """Return the status of a sweep whose manifest was rejected."""
    now = datetime.now(UTC)
    return build_sweep_status(SweepStatusInputs(started=now, now=now, failure=error))


def dataset_status(sweep: ResolvedSweep) -> DatasetStatus:
    """Return digest and samples of the dataset."""
    return DatasetStatus(digest=sweep.dataset_digest, samples=sweep.samples)


def _ledger(finished: FinishedSweep) -> ObjectStatus:
    return ObjectStatus(uri=finished.record_uri, digest=finished.digest)


def _rows(inputs: SweepStatusInputs) -> list[Trial]:
    if inputs.job is None:
        return []
    trial_runs = inputs.trial_runs or {}
    best = best_trials(inputs.trials, objective_goal(inputs.job.spec.objective))
    return _limit_bytes(
        _row(trial, trial_runs.get(trial.index, TrialRuns()), output=inputs.output) for trial in best
    )


def _limit_bytes(rows: Iterable[Trial]) -> list[Trial]:
    """Return as many rows as fit, at least the best one."""
    kept: list[Trial] = []
    room = MAX_ROW_BYTES
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


def _conditions(inputs: SweepStatusInputs) -> tuple[Condition, ...]:
    if inputs.failure is not None:
        return failed_conditions(inputs.now, inputs.failure)
    if inputs.finished is not None:
        return complete_conditions(inputs.now, computed_here=inputs.computed_here)
    return suspended_conditions(
        inputs.now, "stopped; every running trial has saved its state; the same command continues"
    )
