"""A driver and a sweep as a pod would run them, without a pod: `python -m cluster.observed_driver`, told what on stdin.

It trains for real, serves the driver's endpoint while it does, and goes on serving until stdin is closed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.environment.environment_pins import pin_environment
from seedbed.ray_cluster.local_ray import prepare_environment

pin_environment(os.environ)
prepare_environment(os.environ)

from seedbed.driver.driver_state import DriverState, RunRequest  # noqa: E402
from seedbed.driver.metrics_exporter import driver_metrics  # noqa: E402
from seedbed.driver.progress_display import ProgressDisplay  # noqa: E402
from seedbed.driver.resolve_run import RunOptions  # noqa: E402
from seedbed.driver.run_driver import run_job  # noqa: E402
from seedbed.pods.driver_endpoint import WorkerRegistry, serve_endpoint  # noqa: E402
from seedbed.pods.status_messages import live_progress  # noqa: E402
from seedbed.sweeps.sweep_display import SweepDisplay  # noqa: E402
from seedbed.sweeps.sweep_driver import SweepDriverState, SweepRequest, run_sweep  # noqa: E402
from seedbed.sweeps.sweep_metrics import sweep_families  # noqa: E402
from seedbed.training.run_progress import RunProgress  # noqa: E402
from seedbed_api.manifest_loader import sweep_job, training_job  # noqa: E402
from seedbed_api.prometheus_exposition import exposition_page  # noqa: E402

TRAINS_SECONDS = 20.0
"""So long, however fast the machine: rates need several looks of Prometheus at what grows."""


class Watch(ProgressDisplay):
    """Tells a training to stop when it was seen for long enough."""

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__("observed", interactive=False)
        self._timer = threading.Timer(TRAINS_SECONDS, stopping.set)

    def update(self, progress: RunProgress) -> None:
        """Start the clock with the first progress."""
        super().update(progress)
        if self._timer.ident is None:
            self._timer.start()


def main() -> None:
    """Train, search, serve."""
    told = json.loads(sys.stdin.readline())
    options = RunOptions(device="cpu", cache_folder=Path(told["cache"]))
    enough = threading.Event()
    request = RunRequest(
        job=training_job(told["job"]),
        options=options,
        display=Watch(enough),
        stopping=enough,
    )
    sweep = SweepRequest(
        job=sweep_job(told["sweep"]),
        options=options,
        display=SweepDisplay("observed", interactive=False),
        stopping=threading.Event(),
    )
    state, sweep_state = DriverState(request=request), SweepDriverState(request=sweep)
    with served(state, told["port"], told["uid"]), sweep_served(sweep_state, told["sweepPort"]):
        assert run_job(request, state).error is None
        assert run_sweep(sweep, sweep_state).error is None
        print("done", flush=True)
        sys.stdin.read()


@contextmanager
def served(state: DriverState, port: int, uid: str) -> Iterator[None]:
    """Serve what `seedbed driver` serves."""

    def live() -> Any:
        return live_progress(state, job_uid=uid, attempt=1, now=datetime.now(UTC))

    with serve_endpoint(
        port,
        progress=lambda: live().model_dump_json(by_alias=True, exclude_none=True).encode(),
        metrics=lambda: exposition_page(lambda: driver_metrics(state, live())),
        workers=WorkerRegistry(),
        token="",
    ):
        yield


@contextmanager
def sweep_served(state: SweepDriverState, port: int) -> Iterator[None]:
    """Serve the metrics of a sweep."""

    def metrics() -> bytes:
        trials, namespace = state.trials, state.request.job.metadata.namespace or ""
        if trials is None:
            return b""
        return exposition_page(lambda: sweep_families(trials, namespace=namespace, running=1))

    nothing: Mapping[str, Any] = {}
    with serve_endpoint(
        port,
        progress=lambda: json.dumps(nothing).encode(),
        metrics=metrics,
        workers=WorkerRegistry(),
        token="",
    ):
        yield


if __name__ == "__main__":
    main()
