"""The driver of one run: resolve it, return its result if it is complete, else claim it and train.

`run_job` serves `seedbed run`, a driver pod and the trials of a sweep. The output store decides what is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version

from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.error_policy import classify_error
from seedbed.driver.local_run_log import log_location, record_run_log
from seedbed.driver.mlflow_run_entry import end_of, recording_of
from seedbed.driver.resolve_run import ResolvedRun, pause_step, resolve_run
from seedbed.driver.run_completion import RunCompletion
from seedbed.driver.stored_result import stored_result
from seedbed.driver.trainingjob_status_builder import build_status
from seedbed.mlflow.run_recorder import record_finished_run
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.runs.attempt_claims import AttemptClaim, highest_attempt
from seedbed.runs.checkpoint_store import checkpointed_evaluations
from seedbed.runs.own_folders import hold_folder
from seedbed.runs.run_folder import REPORT
from seedbed.runs.run_lease import RunLease, acquire_lease
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import SeedbedError
from seedbed_api.trainingjob_status import TrainingJobStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverExit:
    """How a call of the driver ended."""

    exit_code: int
    status: TrainingJobStatus
    error: SeedbedError | None
    state: DriverState
    report: str | None = None
    """URL of the report of a complete run, whichever call wrote it."""


def run_job(request: RunRequest, state: DriverState | None = None) -> DriverExit:
    """Train a job to its end, or return its stored result; an expected failure becomes part of the status.

    Pass a `state` to read it from another thread during the run.
    """
    state = state or DriverState(request=request)
    try:
        _run(request, state)
    except StopRequested:
        return _exit(state, ExitCode.STOPPED)
    except SeedbedError as error:
        failure = classify_error(error)
        return _exit(state, failure.exit_code, error=failure)
    if state.result is None:
        return _exit(state, ExitCode.STOPPED)
    if not state.computed_here:
        request.display.notice("this run was complete already; nothing was trained")
    return _exit(state, ExitCode.DONE)


def _run(request: RunRequest, state: DriverState) -> None:
    state.timings.mark("ProgramLoaded")
    run = state.run = resolve_run(request.job, request.options, state.timings, cluster=request.cluster)
    if request.stopping.is_set():
        return
    notice = request.display.notice
    state.result = stored_result(run, notice)
    if state.result is not None:
        state.attempt = highest_attempt(run.folder)
        record_finished_run(recording_of(run, request.member, notice), end_of(state.result))
        return
    if run.from_store or run.is_borrowed:
        run = state.run = resolve_run(
            request.job, request.options, state.timings, cluster=request.cluster, to_train=True
        )
    if not _has_reached_pause(run, request.pause_after_epochs):
        _train_or_wait(run, request, state)


def _train_or_wait(run: ResolvedRun, request: RunRequest, state: DriverState) -> None:
    """Train the run under its lease, or wait for the result of the driver that holds it."""
    hold_folder(run.folder.objects, run.run_id, run.folder.owner)
    claimed = False
    while not (claimed or state.result or request.stopping.is_set()):
        with _claim(run, request) as lease:
            claimed = lease is not None
            if lease is not None:
                _complete(run, lease, request, state)
            elif not request.stopping.is_set():
                state.result = stored_result(run, request.display.notice)


def _complete(run: ResolvedRun, lease: RunLease, request: RunRequest, state: DriverState) -> None:
    state.attempt = lease.attempt.number
    state.timings.mark("RunClaimed")
    location = log_location(run, request.member, attempt=state.attempt)
    with record_run_log(location, request.display) as display:
        RunCompletion(run, state, display).complete()


def _has_reached_pause(run: ResolvedRun, pause_after_epochs: int | None) -> bool:
    """Say whether an earlier call paused the run there: a checkpoint knows the evaluation of that step."""
    pause = pause_step(run, pause_after_epochs)
    if pause is None:
        return False
    return any(record.step == pause for record in checkpointed_evaluations(run.folder))


@contextmanager
def _claim(run: ResolvedRun, request: RunRequest) -> Iterator[RunLease | None]:
    """Hold the lease of a new attempt; yield None if another driver has finished, or on a stop."""
    announced: set[int] = set()

    def wait_for_holder(holder: AttemptClaim) -> None:
        if request.stopping.is_set():
            raise StopRequested
        if holder.number not in announced:
            announced.add(holder.number)
            who = f"process {holder.process.pid} on {holder.process.host}"
            request.display.notice(f"{who} trains this run (attempt {holder.number}); waiting for its result")

    try:
        most = request.workers.most
        lease = acquire_lease(run.folder, workers=most, version=version("seedbed"), on_wait=wait_for_holder)
    except StopRequested:
        lease = None
    with lease or nullcontext():
        yield lease


def _exit(state: DriverState, exit_code: int, *, error: SeedbedError | None = None) -> DriverExit:
    stopped = exit_code == ExitCode.STOPPED
    return DriverExit(
        exit_code=int(exit_code),
        status=build_status(state, now=datetime.now(UTC), failure=error, stopped=stopped),
        error=error,
        state=state,
        report=_report_url(state),
    )


def _report_url(state: DriverState) -> str | None:
    """Return the URL of the report, where the run is complete and has one."""
    run = state.run
    if run is None or state.result is None or not run.folder.objects.exists(REPORT):
        return None
    return f"{run.folder.url}/{REPORT}"
