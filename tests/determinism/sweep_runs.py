"""Sweeps on Ray: the command, its record, its runs and the steps they took."""

from __future__ import annotations

import io
import threading
from contextlib import suppress
from pathlib import Path

import psutil

from seedbed.driver.resolve_run import RunOptions
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_driver import SweepDriverExit, SweepRequest, run_sweep
from seedbed_api.sweepjob import SweepJob
from support.runs.job_builder import steps_executed


def end(processes: list[psutil.Process]) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):  # it may end meanwhile
            process.kill()


def run(
    job: SweepJob,
    stopping: threading.Event | None = None,
    *,
    code: Path | None = None,
    cache: Path | None = None,
) -> SweepDriverExit:
    """Run a sweep as `seedbed run` would."""
    with SweepDisplay("test", stream=io.StringIO()) as display:
        request = SweepRequest(
            job=job,
            options=RunOptions(code=code, cache_folder=cache),
            display=display,
            stopping=stopping or threading.Event(),
        )
        return run_sweep(request)


def ledger_of(output: Path) -> bytes:
    (path,) = (output / "sweeps").glob("*/ledger.json")
    return path.read_bytes()


def runs_of(output: Path) -> list[RunFolder]:
    store = open_storage(str(output))
    return [open_run(store, f"sha256:{path.name}") for path in sorted((output / "runs").glob("*"))]


def steps_of(output: Path) -> int:
    return sum(map(steps_executed, runs_of(output)))
