"""Writes `report.html` beside the record of a finished sweep; the sweep is complete without it."""

from __future__ import annotations

from datetime import datetime

from seedbed.report.sweep_report import Curve, SweepInputs, build_sweep_report
from seedbed.runs.run_folder import REPORT
from seedbed.search.objective_values import mean_objective
from seedbed.search.parameter_importance import parameter_importance
from seedbed.sweeps.resolve_sweep import ResolvedSweep
from seedbed.sweeps.sweep_record import FinishedSweep
from seedbed.sweeps.trial_scheduler import SweepState


def write_sweep_report(
    sweep: ResolvedSweep, finished: FinishedSweep, state: SweepState | None, *, created: datetime
) -> None:
    """Write the report; without a state (a sweep finished before) the curves are the rungs of the record."""
    curves = {} if state is None else {trial.index: _curve(state, trial.index) for trial in finished.trials}
    page = build_sweep_report(
        SweepInputs(
            job=sweep.job.metadata.name,
            spec=sweep.spec,
            ended=finished.ended,
            trials=finished.trials,
            trial_runs=finished.trial_runs,
            curves=curves,
            importance=parameter_importance(sweep.spec, finished.trials) if sweep.spec.parameters else {},
            created=created.strftime("%Y-%m-%d %H:%M UTC"),
            sweep=sweep.identity,
            environment_class=sweep.environment_class,
            dataset_digest=sweep.dataset_digest,
            record_uri=finished.record_uri,
            record_digest=finished.digest,
            reused=len(finished.trials) if state is None else state.reused_count,
        )
    )
    sweep.folder().put(REPORT, page.encode())


def report_url(sweep: ResolvedSweep) -> str | None:
    """Return the URL of the report of a sweep; None if there is none."""
    output = sweep.folder()
    return f"{output.url}/{REPORT}" if output.exists(REPORT) else None


def _curve(state: SweepState, trial: int) -> Curve:
    """Return the mean over the folds of a trial, at the epochs that all of them have reached."""
    places = range(len(state.sweep.fold_numbers))
    known = [state.results[trial, place].curve for place in places if (trial, place) in state.results]
    if len(known) < len(places):
        return ()
    values = [dict(curve.values) for curve in known]
    shared = sorted(set.intersection(*map(set, values)))
    return [(epoch, mean_objective([fold[epoch] for fold in values])) for epoch in shared]
