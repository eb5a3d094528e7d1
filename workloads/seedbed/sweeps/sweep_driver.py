"""Driver of a sweep: resolve, search, write the record and the report. All state is in the output store."""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from seedbed.driver.error_policy import classify_error
from seedbed.driver.local_run_log import LogLocation, claim_log_location, record_log
from seedbed.driver.resolve_run import RunOptions
from seedbed.driver.startup_timings import StartupTimings
from seedbed.mlflow.mlflow_entries import RunEntry
from seedbed.mlflow.run_recorder import RunRecorder, open_recorder, record_run
from seedbed.mlflow.sweep_entry import final_fields, sweep_entry
from seedbed.ray_cluster.cluster_interface import Cluster, StopRequested, TaskRunner
from seedbed.ray_cluster.local_ray import ChildProcess, count_gpus, local_ray
from seedbed.runs.own_folders import hold_folder
from seedbed.runs.sweep_record import FinishedSweep
from seedbed.search.objective_values import objective_goal
from seedbed.search.samplers import create_sampler
from seedbed.search.search_state import Search
from seedbed.search.trial_decisions import DecidedTrial, EndReason, SweepEnd, TrialRuns
from seedbed.search.trial_ranking import best_trials, rank_trials
from seedbed.storage import open_output
from seedbed.sweeps.finished_sweep import (
    read_finished_sweep,
    report_url,
    run_disagreements,
    set_record_aside,
    write_sweep_record,
    write_sweep_report,
)
from seedbed.sweeps.resolve_sweep import ResolvedSweep, resolve_sweep
from seedbed.sweeps.sequential_runner import run_sequentially
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweepjob_status_builder import SweepStatusInputs, build_sweep_status
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from seedbed_api.sweepjob import SweepJob, SweepJobSpec
from seedbed_api.sweepjob_status import SweepJobStatus


class ElasticCluster(Cluster, Protocol):
    """A Ray cluster whose machines come and go."""

    def start(self) -> None:
        """Start it unless it runs; its creator stops it."""

    @property
    def resources_per_rank(self) -> Mapping[str, float]:
        """Return the resources of a run of one process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """One call of the driver."""

    job: SweepJob
    options: RunOptions
    display: SweepDisplay
    stopping: threading.Event
    """Set by SIGTERM and SIGINT: running trials save a checkpoint after the step and stop."""
    cluster: ElasticCluster | None = None
    """Where trials run; None: this machine."""


@dataclass(kw_only=True, slots=True)
class SweepDriverState:
    """How far a call of the driver is."""

    request: SweepRequest
    timings: StartupTimings = field(default_factory=StartupTimings)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    sweep: ResolvedSweep | None = None
    """None until the sweep is resolved."""
    trials: SweepState | None = None
    """None until the sweep is resolved, and if it was finished before."""
    finished: FinishedSweep | None = None
    report_url: str | None = None
    """URL of the report of a finished sweep, whoever wrote it."""

    def computed_here(self) -> bool:
        """Say whether this call computed any step."""
        return self.trials is not None and any(self.trials.steps_by_trial.values())


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepDriverExit:
    """How a call of the driver ended."""

    exit_code: int
    status: SweepJobStatus
    error: SeedbedError | None
    state: SweepDriverState


def run_sweep(request: SweepRequest, state: SweepDriverState | None = None) -> SweepDriverExit:
    """Search to the end unless it was done before; expected errors end up in the status.

    Pass a `state` to read it from another thread during the sweep.
    """
    state = state or SweepDriverState(request=request)
    try:
        with _shared_cache(request.options) as options:
            _run(state, options)
    except StopRequested:
        return _exit(state, ExitCode.STOPPED)
    except SeedbedError as error:
        failure = classify_error(error)
        return _exit(state, failure.exit_code, error=failure)
    return _exit(state, ExitCode.DONE)


@contextmanager
def _shared_cache(options: RunOptions) -> Iterator[RunOptions]:
    """Share one decoded cache between trials: in a temporary folder if none is configured."""
    if options.cache_folder is not None:
        yield replace(options, shared=True)
        return
    with tempfile.TemporaryDirectory(prefix="seedbed-cache-", ignore_cleanup_errors=True) as folder:
        size = min(options.cache_bytes, shutil.disk_usage(folder).free // 2)
        yield replace(options, shared=True, cache_folder=Path(folder), cache_bytes=size)


def _run(state: SweepDriverState, options: RunOptions) -> None:
    job, cluster = state.request.job, _probe_runner(state.request)
    sweep = state.sweep = resolve_sweep(job, options, state.timings, cluster=cluster)
    state.finished = _finished_before(sweep)
    recorder = _recorder(sweep, state.request.display)
    with record_run(recorder, lambda: final_fields(job, state.finished)):
        _search_once(state, sweep)


def _recorder(sweep: ResolvedSweep, display: SweepDisplay) -> RunRecorder | None:
    """Return the MLflow recorder of the sweep; None without an MLflow server."""

    def entry() -> RunEntry:
        return sweep_entry(
            sweep.job,
            identity=sweep.identity,
            dataset_digest=sweep.dataset_digest,
            environment_class=sweep.environment_class,
            folder=sweep.folder().url,
        )

    return open_recorder(entry, sweep.options.output_secret, display.notice)


def _finished_before(sweep: ResolvedSweep) -> FinishedSweep | None:
    """Return the stored end of the sweep, where its owner or its runs confirm the record."""
    finished = read_finished_sweep(sweep)
    if finished is None or sweep.owner is not None:
        return finished
    for line in run_disagreements(sweep, finished):
        set_record_aside(sweep, line)
        return None
    return finished


def _search_once(state: SweepDriverState, sweep: ResolvedSweep) -> None:
    display = state.request.display
    if state.finished is None:
        hold_folder(sweep.folder(), sweep.identity, sweep.owner)
        with _record_log(sweep, display):
            finished = state.finished = _search(state, sweep)
    else:
        finished = state.finished
        display.notice("this sweep was complete already; nothing was trained")
    _ensure_report(state, sweep, finished)
    display.print_ranking(rank_trials(finished.trials, objective_goal(sweep.spec.objective)))
    _require_winner(sweep.job, finished)


def _probe_runner(request: SweepRequest) -> TaskRunner | None:
    """Return where the environment is probed: in this process (None) only if it trains.

    Otherwise it does not import torch, which would be most of its memory.
    """
    if request.cluster is not None:
        return request.cluster
    return None if request.job.spec.trials_at_a_time == 1 else ChildProcess()


def _ensure_report(state: SweepDriverState, sweep: ResolvedSweep, finished: FinishedSweep) -> None:
    """Write the report unless it is there; the sweep is complete without it, so errors are only shown."""
    try:
        if state.trials is not None or report_url(sweep) is None:
            write_sweep_report(sweep, finished, state.trials, created=state.started)
        state.report_url = report_url(sweep)
    except SeedbedError as error:
        state.request.display.notice(f"no report: {error}")


@contextmanager
def _record_log(sweep: ResolvedSweep, display: SweepDisplay) -> Iterator[None]:
    """Store the log of a sweep meanwhile, if it is wanted and the store accepts it."""
    place = _log_location(sweep, display) if sweep.options.keep_log else None
    if place is None:
        yield
        return
    with record_log(place, display.notice) as log, display.copy_to(log):
        yield


def _log_location(sweep: ResolvedSweep, display: SweepDisplay) -> LogLocation | None:
    output = open_output(sweep.spec.output.uri, secret=sweep.options.output_secret)
    uid, job = sweep.identity.removeprefix("sha256:"), sweep.job.metadata.name
    try:
        return claim_log_location(output, uid=uid, job=job)
    except (SeedbedError, OSError) as error:
        display.notice(f"the log of this sweep is not stored: {error}")
        return None


def _search(state: SweepDriverState, sweep: ResolvedSweep) -> FinishedSweep:
    trials = state.trials = SweepState(sweep=sweep, search=Search(sweep.spec))
    for line in sequential_notices(sweep.spec):
        state.request.display.notice(line)
    _run_trials(state.request, trials)
    ended = trials.search.ended
    assert ended is not None, "nothing was left to train and the search has not ended"
    if ended.reason is EndReason.UNDECIDED:
        raise _undecided_error(ended)
    return write_sweep_record(sweep, ended=ended, trials=trials.decided, trial_runs=trials.trial_runs())


def _run_trials(request: SweepRequest, trials: SweepState) -> None:
    spec, cluster = request.job.spec, request.cluster
    if cluster is not None and spec.has_lone_trials:
        _run_on_cluster(request, trials, cluster)
    elif spec.trials_at_a_time == 1:
        run_sequentially(trials, stopping=request.stopping, display=request.display, cluster=cluster)
    else:
        _run_on_local_ray(request, trials)


def sequential_notices(spec: SweepJobSpec) -> Iterator[str]:
    """Yield a notice if trials run one after the other although spec.parallelTrialCount asks for more."""
    asked = spec.parallel_trial_count
    if spec.trials_at_a_time == asked:
        return
    several = spec.workers_per_trial > 1
    cause = f"spec.workersPerTrial is {spec.workers_per_trial}" if several else "spec.cluster.feed is RayData"
    yield (
        f"trials run one after the other, spec.parallelTrialCount {asked} is not used: {cause}, "
        "and such a trial needs all workers"
    )


def _run_on_cluster(request: SweepRequest, trials: SweepState, cluster: ElasticCluster) -> None:
    from seedbed.sweeps.tune_runner import run_on_tune  # Ray Tune takes 1.2 s to import

    cluster.start()
    run_on_tune(
        trials,
        slots=request.job.spec.trials_at_a_time,
        stopping=request.stopping,
        display=request.display,
        resources=cluster.resources_per_rank,
    )


def _run_on_local_ray(request: SweepRequest, trials: SweepState) -> None:
    from seedbed.sweeps.tune_runner import run_on_tune  # Ray Tune takes 1.2 s to import

    slots = request.job.spec.trials_at_a_time
    with local_ray(workers=slots, gpus=_gpus(request.options)):
        run_on_tune(trials, slots=slots, stopping=request.stopping, display=request.display)


def _gpus(options: RunOptions) -> int:
    return ChildProcess().run_task(count_gpus) if options.device == "cuda" else 0


def _undecided_error(ended: SweepEnd) -> InfrastructureError:
    return InfrastructureError(
        "TrialUndecided",
        f"trial {ended.index} could not be decided: {ended.detail}, more often than spec.backoffLimit "
        "allows; add memory, disk or machines, then run the same command again",
    )


def _require_winner(job: SweepJob, finished: FinishedSweep) -> None:
    """Raise UserError if no trial succeeded or too many failed; a retry would give the same."""
    limit, failed = job.spec.max_failed_trial_count, [each for each in finished.trials if each.reason]
    if finished.ended.complete and rank_trials(finished.trials, objective_goal(job.spec.objective)):
        return
    reasons = ", ".join(sorted({str(trial.reason) for trial in failed}))
    raise UserError(
        "TrialsFailed",
        f"spec.maxFailedTrialCount: {len(failed)} of {len(finished.trials)} trials failed ({reasons}) "
        f"where {limit} may; narrow spec.parameters, correct the template, or raise the limit",
    )


def _exit(state: SweepDriverState, exit_code: int, *, error: SeedbedError | None = None) -> SweepDriverExit:
    status = build_sweep_status(status_inputs(state, failure=error))
    return SweepDriverExit(exit_code=int(exit_code), status=status, error=error, state=state)


def status_inputs(
    state: SweepDriverState, *, running: int = 0, failure: SeedbedError | None = None
) -> SweepStatusInputs:
    """Return the inputs of the present status."""
    finished, running_trials = state.finished, state.trials
    trials = finished.trials if finished else tuple(running_trials.decided) if running_trials else ()
    return SweepStatusInputs(
        started=state.started,
        now=datetime.now(UTC),
        job=state.request.job,
        output=open_output(state.request.job.spec.output.uri).url if trials else "",
        trials=trials,
        trial_runs=_trial_runs(state, trials),
        reused=running_trials.reused_count if running_trials else len(trials),
        running=running,
        planned=_planned(state),
        sweep=state.sweep,
        finished=finished,
        computed_here=state.computed_here(),
        failure=failure,
    )


def _trial_runs(state: SweepDriverState, trials: Sequence[DecidedTrial]) -> Mapping[int, TrialRuns]:
    """Return the runs of the best trials; a status shows no others."""
    if state.finished is not None:
        return state.finished.trial_runs
    if state.trials is None:
        return {}
    best = best_trials(trials, objective_goal(state.request.job.spec.objective))
    return {trial.index: state.trials.runs_of_trial(trial) for trial in best}


def _planned(state: SweepDriverState) -> int:
    if state.trials is not None:
        return state.trials.search.sampler.total
    return create_sampler(state.request.job.spec).total if state.finished else 0
