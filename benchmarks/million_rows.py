"""A dataset of a million small images: built from Parquet, trained, killed in mid-epoch, resumed.

The commands are those of users, in processes of their own. The table shows CPU seconds and peak resident
memory of each process tree at a growing number of rows; the interrupted run must have the digest of an
uninterrupted one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataset_scale import CLASSES, SIDE, png
from process_tree import machine, private_bytes, process_seconds, tree

ROOT = Path(__file__).parents[1]
FILE_ROWS = 50_000
STEPS, BATCH, CHECKPOINT = 400, 128, 50
JOB = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "many-rows"},
    "spec": {
        "model": {"name": "simple-cnn"},
        "training": {
            "steps": STEPS,
            "batch": {"globalSize": BATCH, "microSize": 16},
            "optimizer": {"type": "SGD", "learningRate": "0.05"},
            "augmentation": [{"type": "RandomResizedCrop", "randomResizedCrop": {"size": SIDE}}],
            "normalization": {"mean": ["0.5", "0.5", "0.5"], "std": ["0.5", "0.5", "0.5"]},
        },
        "checkpoint": {"everySteps": CHECKPOINT},
        "cluster": {"workers": {"min": 1, "max": 1}, "feed": "Local"},
    },
}


def write_parquet(folder: Path, rows: int) -> None:
    """Write images and labels into Parquet files of 50,000 rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True)
    for first in range(0, rows, FILE_ROWS):
        numbers = range(first, min(first + FILE_ROWS, rows))
        labels = [f"class{number % CLASSES}" for number in numbers]
        table = pa.table({"image": [png(number) for number in numbers], "label": labels})
        pq.write_table(table, folder / f"part-{first // FILE_ROWS:05d}.parquet", row_group_size=5_000)


def seedbed(*words: str | Path, until: Callable[[], bool] = lambda: False) -> dict[str, Any]:
    """Run a command of Seedbed; end its processes by SIGKILL once `until` holds.

    Returns its exit code, what it printed, and CPU and wall seconds and peak MiB of its processes, sampled.
    """
    began, peak = time.monotonic(), 0
    used: dict[int, float] = {}
    with tempfile.TemporaryFile() as printed:
        command = [sys.executable, "-m", "seedbed.cli", *map(str, words)]
        process = subprocess.Popen(command, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            while process.poll() is None and not until():
                seen = private_bytes()
                used |= process_seconds(process.pid)
                peak = max(peak, seen["private"] + seen["shared"])
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                for child in reversed(tree(process.pid)):
                    os.kill(child, signal.SIGKILL)
        code = process.wait()
        printed.seek(0)
        text = printed.read().decode(errors="replace")
    return {
        "code": code,
        "cpu": sum(used.values()),
        "wall": time.monotonic() - began,
        "peak": peak >> 20,
        "text": text,
    }


def has_checkpoint(runs: Path, step: int) -> bool:
    """Return whether a run of the store has a checkpoint of this step or a later one."""
    found = runs.glob("**/checkpoints/*")
    return any(int("".join(filter(str.isdigit, path.name)) or 0) >= step for path in found)


def weights(runs: Path) -> str:
    """Return the SHA-256 of the only model of a store."""
    (model,) = runs.glob("**/model.safetensors")
    return hashlib.sha256(model.read_bytes()).hexdigest()


def measure(folder: Path, rows: int) -> list[tuple[str, dict[str, Any]]]:
    """Build and train; returns what each command took."""
    source, data, job = folder / "source", folder / "data", folder / "job.json"
    write_parquet(source, rows)
    job.write_text(json.dumps(JOB), encoding="utf-8")
    run = ("run", "-f", job, "--dataset", data, "--output")
    cut, whole = folder / "cut", folder / "whole"
    found = [("build", seedbed("dataset", "build", source, data))]
    killed = seedbed(*run, cut, until=lambda: has_checkpoint(cut, STEPS // 2))
    found += [("killed", killed), ("resumed", seedbed(*run, cut)), ("uninterrupted", seedbed(*run, whole))]
    for name, each in found:
        expected = -signal.SIGKILL if name == "killed" else 0
        assert each["code"] == expected, f"{name}: exit code {each['code']}\n{each['text'][-3000:]}"
    assert weights(cut) == weights(whole), "one digest"
    return found


def main() -> None:
    """Measure each number of rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--folder", type=Path)
    chosen = parser.parse_args()
    print("| rows | command | CPU s | wall s | peak MiB |\n| ---: | --- | ---: | ---: | ---: |", flush=True)
    for rows in chosen.rows:
        with tempfile.TemporaryDirectory(prefix="rows-", dir=chosen.folder) as kept:
            for name, each in measure(Path(kept), rows):
                print(
                    f"| {rows:,} | {name} | {each['cpu']:.0f} | {each['wall']:.0f} | {each['peak']} |",
                    flush=True,
                )
    print(f"\nImages of {SIDE} x {SIDE} pixels; {STEPS} steps of {BATCH} rows. {machine()}")


if __name__ == "__main__":
    main()
