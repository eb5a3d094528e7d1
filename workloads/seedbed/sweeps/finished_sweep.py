"""A finished sweep in its folder: its record, whether the record may be believed, and the report beside it.

The record is believed where its owner vouches for it, and otherwise where it agrees with the runs that it
names: it follows from the objectives of its trials, which are in the runs, so a record with other objectives
is found, as is one that names other runs or other weights. Rungs of pruned trials are not compared.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import ValidationError

from seedbed.driver.resolve_run import stored_run
from seedbed.driver.result_check import DisagreementError, require_result
from seedbed.runs.owner_records import NO_OWNER_RECORD
from seedbed.runs.result_file import read_result
from seedbed.runs.run_folder import REFUSED, REPORT, conflict_message
from seedbed.runs.sweep_record import RECORD, FinishedSweep, SweepRecord, parse_sweep_record, sweep_record
from seedbed.search.learning_curve import Finished
from seedbed.search.objective_values import mean_objective
from seedbed.search.sweep_record_check import disagreements
from seedbed.search.trial_decisions import DecidedTrial, SweepEnd, TrialRuns, TrialState
from seedbed.storage import OversizedObject, Storage
from seedbed.storage.object_limits import SWEEP_RECORD
from seedbed.sweeps.resolve_sweep import ResolvedSweep, trial_job
from seedbed.sweeps.trial_runner import run_curve
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.run_identity import ExpectedIdentity
from seedbed_api.trial_recipe import trial_recipe

if TYPE_CHECKING:
    from seedbed.report.sweep_report import Curve

logger = logging.getLogger(__name__)

OWNER_KIND = "ledger"
"""Kind of the owner record of a sweep's record."""


def write_sweep_record(
    sweep: ResolvedSweep,
    *,
    ended: SweepEnd,
    trials: Iterable[DecidedTrial],
    trial_runs: Mapping[int, TrialRuns],
) -> FinishedSweep:
    """Store the record; RunFolderConflict where a valid one of other bytes is there."""
    record = sweep_record(trials, sweep=sweep.identity_document, ended=ended, trial_runs=trial_runs)
    data, output = record.to_bytes(), sweep.folder()
    believed = not output.create(RECORD, data) and _believed_record(_stored(output), sweep) is not None
    if sweep.owner is not None:
        sweep.owner.vouch(output, OWNER_KIND, subject=sweep.identity, digest=digest_of(data))
    if (stored := _stored(output)) != data:
        if believed:
            raise InfrastructureError("RunFolderConflict", conflict_message(_uri(output), stored, data))
        output.put(RECORD, data)
    return _finished(record, output, digest=digest_of(data))


def read_finished_sweep(sweep: ResolvedSweep) -> FinishedSweep | None:
    """Return the sweep as its record has it; None where it has not ended, or its record is damaged."""
    output = sweep.folder()
    try:
        data = _stored(output)
    except FileNotFoundError:
        return None
    record = _believed_record(data, sweep)
    return None if record is None else _finished(record, output, digest=digest_of(data))


def set_record_aside(sweep: ResolvedSweep, problem: str) -> None:
    """Move a record that its runs do not confirm to `refused/`, with a line; the runs give it anew."""
    output = sweep.folder()
    logger.warning("%s is not used: %s", _uri(output), problem)
    data = _stored(output)
    output.create(f"{REFUSED}/{RECORD}.{digest_of(data).removeprefix('sha256:')[:16]}", data)
    output.delete(RECORD)


def _stored(output: Storage) -> bytes:
    """Return the stored bytes of a record; none where they are too many to be one."""
    try:
        return output.read(RECORD, SWEEP_RECORD)
    except OversizedObject as error:
        logger.warning("%s is not read: %s", _uri(output), error)
        return b""


def _finished(record: SweepRecord, output: Storage, *, digest: str) -> FinishedSweep:
    return FinishedSweep(
        ended=record.ended,
        trials=record.trials,
        trial_runs=dict(enumerate(record.trial_runs)),
        record_uri=_uri(output),
        digest=digest,
    )


def _believed_record(data: bytes, sweep: ResolvedSweep) -> SweepRecord | None:
    """Return the record of stored bytes, where it is valid and its owner vouches for it; else None."""
    owner, subject = sweep.owner, sweep.identity
    if owner is not None and owner.vouched(sweep.folder(), OWNER_KIND, subject=subject) != digest_of(data):
        logger.warning("%s is not used: %s", _uri(sweep.folder()), NO_OWNER_RECORD)
        return None
    return _valid_record(data, sweep)


def _valid_record(data: bytes, sweep: ResolvedSweep) -> SweepRecord | None:
    """Return the record of stored bytes; None where it is damaged (the runs then give it anew)."""
    try:
        record = parse_sweep_record(data)
    except ValueError as error:
        logger.warning("%s is not used: %s", _uri(sweep.folder()), error)
        return None
    lines = ["it is the record of another sweep"]
    if record.sweep == sweep.identity_document:
        lines = disagreements(sweep.spec, record.trials, record.ended)
    for line in lines:
        logger.warning("%s is not used: %s", _uri(sweep.folder()), line)
    return None if lines else record


def _uri(output: Storage) -> str:
    return f"{output.url}/{RECORD}"


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


def write_sweep_report(
    sweep: ResolvedSweep, finished: FinishedSweep, state: SweepState | None, *, created: datetime
) -> None:
    """Write the report; without a state (a sweep finished before) the curves are the rungs of the record."""
    from seedbed.report.sweep_report import SweepInputs, build_sweep_report  # 1.6 s with scikit-learn
    from seedbed.search.parameter_importance import parameter_importance

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
