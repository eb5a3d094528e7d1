"""The program of a driver pod: train as `seedbed run` does, on workers in other pods; leave a last word."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from seedbed.runs.processes import TURN_VARIABLE
from seedbed.runtime.display import Display
from seedbed.runtime.driver import Session, run_job
from seedbed.runtime.exporting import training_families
from seedbed.runtime.lasting import lasting
from seedbed.runtime.pods.clusters import PodCluster
from seedbed.runtime.pods.endpoint import Attendance, endpoint
from seedbed.runtime.pods.lastwords import leave
from seedbed.runtime.pods.logs import shipping
from seedbed.runtime.pods.messages import live_progress, outcome_of
from seedbed.runtime.pods.settings import PodSettings, pod_settings
from seedbed.runtime.pods.signals import stop_by_signal
from seedbed_api.conditions import one_line
from seedbed_api.errors import SeedbedError
from seedbed_api.exposition import page
from seedbed_api.outcome import Outcome

_FAREWELL_SECONDS = 4.0
_SHUTDOWN_SECONDS = 15.0
CRASHED = 1


def drive(environ: Mapping[str, str], spool: Path) -> int:
    """Run the driver of one attempt; return its exit code."""
    try:
        settings = pod_settings(environ)
    except SeedbedError as error:
        leave(environ, failed(error, attempt=0))
        raise
    os.environ[TURN_VARIABLE] = f"{settings.uid}/{settings.attempt}"
    stopping = stop_by_signal()
    with shipping(spool, settings):
        outcome, code = _guarded(settings, stopping)
        leave(environ, outcome)
        return code


def _guarded(settings: PodSettings, stopping: threading.Event) -> tuple[Outcome, int]:
    """Return outcome and exit code, also of what nobody expected."""
    try:
        return _attempt(settings, stopping)
    except SeedbedError as error:
        failure = lasting(error)
        _say(f"error: {failure.reason}: {failure.message}")
        return failed(failure, attempt=settings.attempt), failure.exit_code
    except Exception as error:
        traceback.print_exc()
        message = one_line(f"{type(error).__name__}: {error}")
        return (
            Outcome(result="Failed", reason="DriverCrashed", message=message, attempt=settings.attempt),
            CRASHED,
        )


def _attempt(settings: PodSettings, stopping: threading.Event) -> tuple[Outcome, int]:
    cluster, attendance = PodCluster(settings, stopping=stopping), Attendance()
    with Display(settings.job.metadata.name, interactive=False, records=True) as display:
        session = Session(
            job=settings.job, options=settings.options(), display=display, stopping=stopping, cluster=cluster
        )

        def progress() -> bytes:
            now = datetime.now(UTC)
            told = live_progress(session, job_uid=settings.uid, attempt=settings.attempt, now=now)
            return told.model_dump_json(by_alias=True, exclude_none=True).encode()

        def metrics() -> bytes:
            live = live_progress(
                session, job_uid=settings.uid, attempt=settings.attempt, now=datetime.now(UTC)
            )
            return page(lambda: training_families(session, live))

        with endpoint(
            settings.progress_port,
            progress=progress,
            metrics=metrics,
            attendance=attendance,
            token=settings.token,
        ):
            try:
                ended = run_job(session)
            finally:
                attendance.end(patience=_FAREWELL_SECONDS)
                _closed_in_time(cluster)
    if ended.error is not None:
        _say(f"error: {ended.error.reason}: {ended.error.message}")
    return outcome_of(ended, attempt=settings.attempt), ended.exit_code


def _closed_in_time(cluster: PodCluster) -> None:
    """End Ray; should it hang, the pod ends all the same: a thread that hangs keeps nobody."""
    thread = threading.Thread(target=cluster.close, name="seedbed-close", daemon=True)
    thread.start()
    thread.join(timeout=_SHUTDOWN_SECONDS)


def failed(error: SeedbedError, *, attempt: int) -> Outcome:
    """Return the outcome of an attempt that ended before there was a run."""
    return Outcome(result="Failed", reason=error.reason, message=one_line(error.message), attempt=attempt)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
