"""The program of a driver pod: run one attempt on worker pods and write the termination message."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from prometheus_client.core import Metric

from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.error_policy import classify_error
from seedbed.driver.metrics_exporter import driver_metrics
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.run_driver import run_job
from seedbed.pods.driver_endpoint import WorkerRegistry, serve_endpoint
from seedbed.pods.pod_cluster import PodCluster
from seedbed.pods.pod_log import upload_pod_log
from seedbed.pods.pod_settings import DriverSettings
from seedbed.pods.status_messages import live_progress, outcome_of
from seedbed.pods.termination_message import write_termination_message
from seedbed.ray_cluster.stop_signals import stop_by_signal
from seedbed.runs.process_identity import TURN_VARIABLE
from seedbed_api.conditions import one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome
from seedbed_api.prometheus_exposition import exposition_page
from seedbed_api.trainingjob import TrainingJob

_FAREWELL_SECONDS = 4.0
_SHUTDOWN_SECONDS = 15.0
CRASHED = 1


class DriverProgram(Protocol):
    """What a driver runs in one attempt."""

    def live(self, now: datetime) -> LiveProgress:
        """Return the live progress; called from another thread."""

    def metrics(self, now: datetime) -> Iterable[Metric]:
        """Yield the metrics for Prometheus; called from another thread."""

    def step(self) -> int | None:
        """Return the step of the training; None before it starts, and for a sweep."""

    def run(self) -> tuple[Outcome, int, SeedbedError | None]:
        """Run to the end; return outcome, exit code and an expected error."""


DriverPrograms = Mapping[
    str, Callable[[DriverSettings, PodCluster, threading.Event], AbstractContextManager[DriverProgram]]
]
"""Program by kind of job; the event is set when the attempt must stop."""


def run_driver_pod(environ: Mapping[str, str], spool: Path, programs: DriverPrograms) -> int:
    """Run the driver of one attempt; return its exit code."""
    try:
        settings = DriverSettings.from_env(environ)
    except SeedbedError as error:
        write_termination_message(environ, failed_outcome(error, attempt=0))
        raise
    os.environ[TURN_VARIABLE] = settings.turn
    stopping = stop_by_signal()
    with upload_pod_log(spool, settings):
        outcome, code = _run_attempt_reporting_errors(settings, stopping, programs)
        write_termination_message(environ, outcome)
        return code


def _run_attempt_reporting_errors(
    settings: DriverSettings, stopping: threading.Event, programs: DriverPrograms
) -> tuple[Outcome, int]:
    """Return outcome and exit code, also of an unexpected error."""
    try:
        return _run_attempt(settings, stopping, programs)
    except SeedbedError as error:
        failure = classify_error(error)
        _log(f"error: {failure.reason}: {failure.message}")
        return failed_outcome(failure, attempt=settings.attempt), failure.exit_code
    except Exception as error:
        traceback.print_exc()
        message = one_line(f"{type(error).__name__}: {error}")
        return (
            Outcome(result="Failed", reason="DriverCrashed", message=message, attempt=settings.attempt),
            CRASHED,
        )


def _run_attempt(
    settings: DriverSettings, stopping: threading.Event, programs: DriverPrograms
) -> tuple[Outcome, int]:
    _log(f"attempt {settings.attempt} of {settings.job.kind} {settings.job.metadata.name} begins")
    cluster, workers = PodCluster(settings, stopping=stopping), WorkerRegistry()
    with programs[settings.job.kind](settings, cluster, stopping) as program:
        workers.step = program.step

        def progress() -> bytes:
            return program.live(datetime.now(UTC)).model_dump_json(by_alias=True, exclude_none=True).encode()

        def metrics() -> bytes:
            return exposition_page(lambda: program.metrics(datetime.now(UTC)))

        with serve_endpoint(
            settings.progress_port,
            progress=progress,
            metrics=metrics,
            workers=workers,
            token=settings.token,
        ):
            try:
                outcome, code, error = program.run()
            finally:
                workers.end(patience=_FAREWELL_SECONDS)
                _close_in_time(cluster)
    if error is not None:
        _log(f"error: {error.reason}: {error.message}")
    return outcome, code


class TrainingJobProgram:
    """A TrainingJob: one run."""

    def __init__(self, settings: DriverSettings, state: DriverState) -> None:
        self._settings, self._state = settings, state

    def live(self, now: datetime) -> LiveProgress:
        """Return the live progress of the run."""
        settings = self._settings
        return live_progress(self._state, job_uid=settings.uid, attempt=settings.attempt, now=now)

    def metrics(self, now: datetime) -> Iterable[Metric]:
        """Yield the metrics of the run."""
        return driver_metrics(self._state, self.live(now))

    def step(self) -> int | None:
        """Return the live progress of the run."""
        progress = self._state.progress
        return None if progress is None else progress.step

    def run(self) -> tuple[Outcome, int, SeedbedError | None]:
        """Train."""
        ended = run_job(self._state.request, self._state)
        return outcome_of(ended, attempt=self._settings.attempt), ended.exit_code, ended.error


@contextmanager
def training_job_program(
    settings: DriverSettings, cluster: PodCluster, stopping: threading.Event
) -> Iterator[TrainingJobProgram]:
    """Yield the program of a TrainingJob."""
    job, options = settings.job, settings.options()
    assert isinstance(job, TrainingJob)
    with ProgressDisplay(job.metadata.name, interactive=False, records=True) as display:
        request = RunRequest(job=job, options=options, display=display, stopping=stopping, cluster=cluster)
        yield TrainingJobProgram(settings, DriverState(request=request))


def _close_in_time(cluster: PodCluster) -> None:
    """Close Ray in a thread, so that a Ray that hangs does not keep the pod."""
    thread = threading.Thread(target=cluster.close, name="seedbed-close", daemon=True)
    thread.start()
    thread.join(timeout=_SHUTDOWN_SECONDS)


def failed_outcome(error: SeedbedError, *, attempt: int) -> Outcome:
    """Return the outcome of an attempt that failed with an expected error."""
    return Outcome(result="Failed", reason=error.reason, message=one_line(error.message), attempt=attempt)


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
