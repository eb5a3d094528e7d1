"""The driver: prepare, claim, train, conclude. The output store decides what happened."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TypeVar

from seedbed.driver.attempt_events import AttemptEvents
from seedbed.driver.curve_store import CurveStore
from seedbed.driver.error_policy import classify_error
from seedbed.driver.finalize_run import ExecutionDetails, finalize_run
from seedbed.driver.local_run_log import log_location, record_run_log
from seedbed.driver.mlflow_run_entry import SweepMembership, end_of, recording_of
from seedbed.driver.progress_display import ProgressSink
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, pause_step, resolve_run, worker_config_of
from seedbed.driver.run_result import Result, read_result
from seedbed.driver.startup_timings import StartupTimings, mark_moments
from seedbed.driver.trainingjob_status_builder import StatusInputs, build_status
from seedbed.driver.user_metrics import user_metrics_of
from seedbed.mlflow.run_recorder import RunRecorder, record_finished_run, record_run
from seedbed.ray_cluster.cluster_interface import Cluster, StopRequested, WorkerPlacement, WorkerRange
from seedbed.ray_cluster.local_ray import LocalCluster
from seedbed.runs.attempt_claims import Attempt, highest_attempt
from seedbed.runs.attempt_event_log import PAUSED, STOPPED, TRAINED, EventLog
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.run_folder import ENVIRONMENT, RECIPE, REPORT, RESULT
from seedbed.runs.run_lease import Lease, acquire
from seedbed.training.run_progress import PartSeconds, RunProgress, SavedCheckpoint
from seedbed.training.training_result import RESULT_FILE, TrainingResult, read_training_result
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.canonical_json import canonical_json
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError, SeedbedError
from seedbed_api.trainingjob import TrainingJob
from seedbed_api.trainingjob_status import TrainingJobStatus

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, slots=True)
class Session:
    """One call of the driver: what it was given, and what it has learned so far."""

    job: TrainingJob
    options: RunOptions
    display: ProgressSink
    stopping: threading.Event
    """Set by SIGTERM and SIGINT: checkpoint after the step and end."""
    cluster: Cluster = field(default_factory=LocalCluster)
    pause_after_epochs: int | None = None
    """Keep the state after so many epochs and end; the run goes on when it is asked for again."""
    wants_report: bool = True
    member: SweepMembership | None = None
    """Which part of a sweep the run is."""
    timeline: StartupTimings = field(default_factory=StartupTimings)
    started: datetime = field(default_factory=lambda: datetime.now(UTC))
    run: ResolvedRun | None = None
    attempt: int = 0
    groups: list[int] = field(default_factory=list)
    """Sizes of the worker groups that trained."""
    progress: RunProgress | None = None
    executed: dict[int, int] = field(default_factory=dict)
    """Steps that each worker group computed, by its place in `groups`."""
    kept: SavedCheckpoint | None = None
    """The newest checkpoint that this call wrote."""
    curves: CurveStore | None = None
    """None until the run is claimed."""
    events: AttemptEvents | None = None
    """None until the run is claimed."""
    recording: RunRecorder | None = None
    """None where no server is told of runs."""
    spent: dict[int, PartSeconds] = field(default_factory=dict)
    """Seconds of each worker group, by its place in `groups`."""
    result: Result | None = None
    computed_here: bool = False
    told_to_stop: bool = False
    """Whether the user has read that the wish to stop was heard."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverExit:
    """How a call of the driver ended."""

    exit_code: int
    status: TrainingJobStatus
    error: SeedbedError | None
    session: Session
    report: str | None = None
    """URL of the report of a complete run, whoever wrote it."""


def run_job(session: Session) -> DriverExit:
    """Train a job to its end, or find that it was; an expected failure is told in the status."""
    try:
        _run(session)
    except StopRequested:
        return _ended(session, ExitCode.STOPPED)
    except SeedbedError as error:
        failure = classify_error(error)
        return _ended(session, failure.exit_code, error=failure)
    if session.result is None:
        return _ended(session, ExitCode.STOPPED)
    if not session.computed_here:
        session.display.notice("this run was complete already; nothing was trained")
    return _ended(session, ExitCode.DONE)


def _run(session: Session) -> None:
    session.timeline.mark("ProgramLoaded")
    run = session.run = resolve_run(session.job, session.options, session.timeline, cluster=session.cluster)
    if session.stopping.is_set():
        return
    session.result = _intact(session, RESULT, lambda: read_result(run.folder))
    if session.result is not None:
        session.attempt = highest_attempt(run.folder)
        record_finished_run(recording_of(run, session.member, session.display.notice), end_of(session.result))
        return
    if _has_been_there(session, run):
        return
    with _claimed(session, run) as lease:
        if lease is None:
            session.result = None if session.stopping.is_set() else read_result(run.folder)
            return
        session.attempt = lease.attempt.number
        session.timeline.mark("RunClaimed")
        place = log_location(run, session.member, attempt=session.attempt)
        with record_run_log(place, session.display) as session.display:
            _describe(run)
            session.curves = _curves(session, run)
            session.events = _chronicle(session, run)
            session.recording = recording_of(run, session.member, session.display.notice)
            with record_run(session.recording, lambda: end_of(session.result)):
                with session.events.noting_the_end(lambda: _end(session)):
                    _complete(session, run, lease)
                if session.computed_here and session.wants_report:
                    _report(session, run)


def _end(session: Session) -> str:
    """Return how this attempt ended that did not fail."""
    if session.result is not None:
        return TRAINED
    return STOPPED if session.stopping.is_set() else PAUSED


def _complete(session: Session, run: ResolvedRun, lease: Lease) -> None:
    """Train what is missing, and conclude."""
    assert session.curves is not None
    outcome = None
    try:
        stored = _intact(session, RESULT_FILE, lambda: read_training_result(run.folder))
        outcome = stored or _train(session, run, lease)
    finally:
        if outcome is not None:
            session.curves.join(outcome.step, over=True)
        elif session.kept is not None:
            session.curves.join(session.kept.step, over=False)
    if outcome is None:
        return
    session.computed_here = True
    if session.recording is not None:
        session.recording.flush()
    measure = user_metrics_of(run, notice=session.display.notice)
    session.result = finalize_run(run, outcome, _circumstances(session), measure=measure)


_T = TypeVar("_T")


def _intact(session: Session, path: str, read: Callable[[], _T | None]) -> _T | None:
    """Return what is stored; what fails its own checksum is removed and made again."""
    try:
        return read()
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        assert session.run is not None
        session.display.notice(f"{error.message}; it is made again")
        session.run.folder.objects.delete(path)
        return None


def _has_been_there(session: Session, run: ResolvedRun) -> bool:
    """Say whether the run is to pause where it was before: what was evaluated there is stored."""
    pause = pause_step(run, session.pause_after_epochs)
    if pause is None:
        return False
    try:
        return any(record.step == pause for record in read_evaluations(run.folder, split="validation"))
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        return False  # the training restores what does not verify


@contextmanager
def _claimed(session: Session, run: ResolvedRun) -> Iterator[Lease | None]:
    told: set[int] = set()

    def waiting(holder: Attempt) -> None:
        if session.stopping.is_set():
            raise StopRequested
        if holder.number not in told:
            told.add(holder.number)
            who = f"process {holder.process.pid} on {holder.process.host}"
            session.display.notice(f"{who} trains this run (attempt {holder.number}); waiting for its result")

    try:
        lease = acquire(
            run.folder,
            workers=session.job.spec.cluster.workers.max,
            version=version("seedbed"),
            waiting=waiting,
        )
    except StopRequested:
        lease = None
    with lease or nullcontext():
        yield lease


def _describe(run: ResolvedRun) -> None:
    run.folder.publish(RECIPE, canonical_json(run.resolved))
    run.folder.publish(ENVIRONMENT, canonical_json(dict(run.environment)))


def _report(session: Session, run: ResolvedRun) -> None:
    """Write the report; the run is complete without it, so trouble is told and not raised."""
    from seedbed.driver.run_report_writer import write_report

    assert session.result is not None
    try:
        write_report(
            run,
            worker_config_of(run, attempt=session.attempt, workers=_worker_range(session)),
            session.result,
            created=session.started.strftime("%Y-%m-%d %H:%M UTC"),
        )
    except (SeedbedError, ValueError, FileNotFoundError) as error:  # damaged, or removed meanwhile
        session.display.notice(f"no report: {error}")


def _worker_range(session: Session) -> WorkerRange:
    workers = session.job.spec.cluster.workers
    return WorkerRange(least=workers.min, most=workers.max)


def _train(session: Session, run: ResolvedRun, lease: Lease) -> TrainingResult | None:
    from seedbed.training.model_check import check_model

    workers = _worker_range(session)
    program = replace(
        worker_config_of(run, attempt=lease.attempt.number, workers=workers),
        pause_after=pause_step(run, session.pause_after_epochs),
    )
    session.cluster.run_task(check_model, program)
    session.timeline.mark("ModelChecked")
    with session.cluster.provision_workers(program, workers) as placement:
        if not placement.in_process:
            session.timeline.mark("RayStarted")
        _fit_while_it_advances(session, program, placement)
    outcome = read_training_result(run.folder)
    if outcome is None and program.pause_after is None and not session.stopping.is_set():
        line = f"{run.folder.url}/{RESULT_FILE}: the training ended, and what it wrote there is gone"
        raise InfrastructureError("RunFolderDamaged", line)
    return outcome


def _curves(session: Session, run: ResolvedRun) -> CurveStore:
    program = worker_config_of(run, attempt=session.attempt, workers=_worker_range(session))
    return CurveStore(
        folder=run.folder,
        schedule=program.arithmetic.learning_rate,
        total_steps=program.schedule.total_steps,
    )


def _chronicle(session: Session, run: ResolvedRun) -> AttemptEvents:
    events = EventLog(folder=run.folder, attempt=session.attempt)
    return AttemptEvents(events=events, timeline=session.timeline)


def _fit_while_it_advances(session: Session, program: WorkerConfig, placement: WorkerPlacement) -> None:
    """Restart a lost group within `backoffLimit`; whenever new checkpoints came, the count begins anew."""
    # imported here: Ray and torch take some 3 s to import, and a finished run is returned without them
    from seedbed.ray_cluster.ray_trainer import train_workers

    assert session.run is not None
    while True:
        kept = checkpoint_steps(session.run.folder)[-1:]
        try:
            train_workers(
                program,
                workers=_worker_range(session),
                placement=placement,
                restarts=session.job.spec.backoff_limit,
                on_progress=lambda progress: _watch(session, progress),
                stopping=session.stopping,
            )
        except InfrastructureError as error:
            if error.reason != "WorkersLost" or checkpoint_steps(session.run.folder)[-1:] == kept:
                raise
            session.display.notice(f"{error.message}; new checkpoints came, so it goes on")
        else:
            return


def _watch(session: Session, progress: RunProgress) -> None:
    before = session.progress
    if session.stopping.is_set() and not session.told_to_stop:
        session.told_to_stop = True
        session.display.notice("stopping after this step; the same command continues")
    if _is_another_group(before, progress):
        session.groups.append(progress.workers)
        _tell_of_group(session, progress)
    mark_moments(session.timeline, progress.startup_times)
    session.spent[len(session.groups)] = progress.seconds
    session.executed[len(session.groups)] = progress.step - progress.resumed_from
    _follow_curves(session, progress.checkpoint)
    if progress != before:
        session.progress = progress
        session.display.update(progress)
        if session.events is not None:
            session.events.follow(progress, group=len(session.groups))


def _follow_curves(session: Session, kept: SavedCheckpoint | None) -> None:
    if kept is not None and kept != session.kept:
        session.kept = kept
        if session.curves is not None and session.curves.follow(kept.step) and session.recording is not None:
            session.recording.update()


def _is_another_group(before: RunProgress | None, progress: RunProgress) -> bool:
    began = (
        each.startup_times and each.startup_times.began for each in (before, progress) if each is not None
    )
    return before is None or len(set(began)) == 2


def _tell_of_group(session: Session, progress: RunProgress) -> None:
    who = "1 worker goes" if progress.workers == 1 else f"{progress.workers} workers go"
    if progress.resumed_from:
        session.display.notice(f"{who} on from the checkpoint of step {progress.resumed_from}")
    elif len(session.groups) > 1:
        session.display.notice(f"{who} on from the beginning: a worker was lost before the first checkpoint")


def _circumstances(session: Session) -> ExecutionDetails:
    return ExecutionDetails(
        started=session.started,
        finished=datetime.now(UTC),
        version=version("seedbed"),
        attempt=session.attempt,
        workers=tuple(session.groups),
    )


def _ended(session: Session, exit_code: int, *, error: SeedbedError | None = None) -> DriverExit:
    status = build_status(
        StatusInputs(
            started=session.started,
            now=datetime.now(UTC),
            attempts=session.attempt,
            timings=session.timeline.parts,
            run=session.run,
            progress=session.progress,
            result=session.result,
            computed_here=session.computed_here,
            kept=session.kept,
            failure=error,
            stopped=exit_code == ExitCode.STOPPED,
        )
    )
    report = _report_of(session)
    return DriverExit(exit_code=int(exit_code), status=status, error=error, session=session, report=report)


def _report_of(session: Session) -> str | None:
    """Return the URL of the report, where the run is complete and has one."""
    run = session.run
    if run is None or session.result is None or not run.folder.objects.exists(REPORT):
        return None
    return f"{run.folder.url}/{REPORT}"
