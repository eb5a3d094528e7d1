"""CPU cost of progress, metrics, curves and log of a run, compared with the CPU of the training.

Each task is repeated many times on the driver state of a real run: its cost is far below the noise between
two runs. How often it happens per minute follows from the intervals in the code.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from process_tree import machine
from seedbed.environment.environment_pins import pin_environment

pin_environment(os.environ)  # read when torch is imported

# ruff: noqa: E402
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.driver.curve_store import LIVE_SECONDS, CurveStore
from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.metrics_exporter import driver_metrics
from seedbed.driver.progress_display import PLAIN_INTERVAL_SECONDS, ProgressDisplay
from seedbed.driver.resolve_run import RunOptions, worker_config_of
from seedbed.driver.run_driver import run_job
from seedbed.logs.json_log import JsonLineEncoder
from seedbed.logs.log_upload import UPLOAD_SECONDS, spool_reader, upload_new_pieces
from seedbed.pods.status_messages import live_progress
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.storage import open_storage
from seedbed_api.manifest_loader import training_job
from seedbed_api.prometheus_exposition import exposition_page

ROOT = Path(__file__).parents[1]
GOAL = 0.01
SCRAPES = 2
"""Of Prometheus in a minute, at the chart's interval."""
LOOKS = 12
"""Of the operator at a driver in a minute, at most."""
REPETITIONS = 200


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One thing that is done while a run goes on."""

    what: str
    cpu_seconds: float
    per_minute: float

    @property
    def a_minute(self) -> float:
        """Return its CPU-seconds in a minute."""
        return self.cpu_seconds * self.per_minute


def main() -> None:
    """Measure and write the page."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--write", type=Path, default=ROOT / "docs/results/observing.md")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="seedbed-bench-") as folder:
        state, cpu, wall = trained(Path(folder))
        costs = measured(state, Path(folder), wall)
    text = page_of(costs, cpu=cpu, wall=wall)
    chosen.write.write_text(text, encoding="utf-8")
    print(text)


def trained(folder: Path) -> tuple[DriverState, float, float]:
    """Train the digits with one worker; return the driver state, CPU seconds, wall seconds."""
    from PIL import Image
    from sklearn.datasets import load_digits

    digits = load_digits()
    for number, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / "images" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((pixels * 15.9).astype("uint8")).resize((32, 32)).save(place / f"{number}.png")
    data = open_storage(str(folder / "data"))
    build_dataset(open_storage(str(folder / "images")), data, options=BuildOptions(engine="local"))
    job = training_job(
        {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "seen", "namespace": "team"},
            "spec": {
                "dataset": {"uri": str(folder / "data")},
                "model": {"name": "simple-cnn"},
                "training": {
                    "epochs": 8,
                    "batch": {"globalSize": 64, "microSize": 8},
                    "optimizer": {"type": "SGD", "learningRate": "0.1"},
                    "augmentation": [{"type": "RandomResizedCrop", "randomResizedCrop": {"size": 32}}],
                },
                "output": {"uri": str(folder / "runs")},
                "cluster": {"feed": "Local"},
            },
        }
    )
    with ProgressDisplay("seen", interactive=False) as display:
        request = RunRequest(job=job, options=RunOptions(), display=display, stopping=threading.Event())
        before, began = time.process_time(), time.monotonic()
        ended = run_job(request)
        assert ended.exit_code == 0, ended.error
        return ended.state, time.process_time() - before, time.monotonic() - began


def measured(state: DriverState, folder: Path, wall: float) -> list[Cost]:
    """Return the cost of each monitoring task, with how often it happens per minute."""
    assert state.run is not None
    assert state.progress is not None

    def progress() -> None:
        live_progress(state, job_uid="u", attempt=1, now=datetime.now(UTC)).model_dump_json(by_alias=True)

    def metrics() -> None:
        live = live_progress(state, job_uid="u", attempt=1, now=datetime.now(UTC))
        exposition_page(lambda: driver_metrics(state, live))

    recorder = JsonLineEncoder(
        context={"namespace": "team", "job": "seen", "attempt": 1, "pod": "seen-1-driver"}
    )
    line = json.dumps({"level": "info", "message": "training  step 100/1000 (10 %)  epoch 3/30", "step": 100})
    spool, logs = folder / "spool", open_storage(str(folder / "logs"))
    spool.write_bytes(line.encode() * 300)
    steps = state.progress.step
    return [
        Cost(what="progress, for the operator", cpu_seconds=cpu_of(progress), per_minute=LOOKS),
        Cost(what="metrics, for Prometheus", cpu_seconds=cpu_of(metrics), per_minute=SCRAPES),
        Cost(
            what="a log line as JSON",
            cpu_seconds=cpu_of(lambda: recorder.take(line.encode() + b"\n")),
            per_minute=60 / PLAIN_INTERVAL_SECONDS,
        ),
        Cost(
            what="upload of the newest log piece",
            cpu_seconds=cpu_of(lambda: upload_new_pieces(spool_reader(spool), logs)),
            per_minute=60 / UPLOAD_SECONDS,
        ),
        Cost(
            what=f"curves of {steps * 60 / wall:,.0f} steps: read the ledger, write lines and events",
            cpu_seconds=cpu_of(lambda: curves(state, steps), repetitions=5) * 60 / wall,
            per_minute=60 / LIVE_SECONDS,
        ),
    ]


def curves(state: DriverState, steps: int) -> None:
    """Write the curves of the whole run anew."""
    assert state.run is not None
    folder = state.run.folder
    for path in folder.objects.list("metrics"):
        folder.objects.delete(path)
    program = worker_config_of(state.run, attempt=1, workers=WorkerRange(least=1, most=1))
    CurveStore(
        folder=folder, schedule=program.arithmetic.learning_rate, total_steps=program.schedule.total_steps
    ).join(steps, over=True)


def cpu_of(action: Callable[[], object], *, repetitions: int = REPETITIONS) -> float:
    """Return the median CPU-seconds of an action of this process."""
    action()
    seconds = []
    for _ in range(repetitions):
        before = time.process_time()
        action()
        seconds.append(time.process_time() - before)
    return statistics.median(seconds)


def page_of(costs: list[Cost], *, cpu: float, wall: float) -> str:
    """Return the page with its table."""
    training = cpu / wall * 60
    share = sum(cost.a_minute for cost in costs) / training
    rows = [
        f"| {cost.what} | {1000 * cost.cpu_seconds:.3f} | {cost.per_minute:g} | "
        f"{100 * cost.a_minute / training:.3f} % |"
        for cost in costs
    ]
    verdict = "met" if share <= GOAL else "missed"
    return "\n".join(
        [
            "# Cost of monitoring a run",
            "",
            "This page shows how much CPU progress, metrics, curves and logs cost during a run.",
            "`make bench-observing` compares their CPU-seconds with those of a minute of training (digits,",
            f"32 pixels, simple-cnn, one worker, feed Local: {training:.0f} CPU-s per minute). Medians of",
            "many repetitions on the driver state of that run.",
            "",
            machine(),
            "",
            "| task | CPU-ms each | per minute | share |",
            "| --- | ---: | ---: | ---: |",
            *rows,
            f"| total, goal ≤ {100 * GOAL:g} % | | | {100 * share:.2f} %: {verdict} |",
            "",
            "Not counted: the import of torch for the first TensorBoard file (2 to 4 CPU-s, once, if the",
            "driver does not train itself). None of this happens within a step.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
