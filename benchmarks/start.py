"""From process start to the first optimizer step: `seedbed run` against an ordinary script of Ray Train.

Both train the same small network on the same images. CPU seconds are those of the whole process tree until
the step is done, sampled every 0.1 s; repetitions are interleaved, every run of Seedbed has a new store.
"""

from __future__ import annotations

import argparse
import compileall
import contextlib
import ctypes
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from process_tree import machine, tree

ROOT = Path(__file__).parents[1]
TICKS = os.sysconf("SC_CLK_TCK")
INTERVAL_SECONDS = 0.1
GOALS = {1: 0.30, 2: 0.55}
PEER = "Ray Train, defaults"
JOB: dict[str, Any] = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "start"},
    "spec": {
        "model": {"name": "simple-cnn"},
        "training": {
            "epochs": 1,
            "seed": 42,
            "batch": {"globalSize": 64, "microSize": 8},
            "optimizer": {
                "type": "SGD",
                "learningRate": "0.05",
                "weightDecay": "5e-4",
                "sgd": {"momentum": "0.9"},
            },
            "augmentation": [{"type": "Resize", "resize": {"size": 32}}],
        },
    },
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to the first step."""

    name: str
    workers: int
    feed: str | None = None
    """None for the peer."""


CASES = (
    Case(name=PEER, workers=1),
    Case(name="seedbed, feed Local (the default)", workers=1, feed="Local"),
    Case(name="seedbed, feed RayData", workers=1, feed="RayData"),
    Case(name=PEER, workers=2),
    Case(name="seedbed, feed RayData (the default)", workers=2, feed="RayData"),
    Case(name="seedbed, feed Local", workers=2, feed="Local"),
)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one run took until its first step was done."""

    wall: float
    cpu: float
    roles: dict[str, float]
    """CPU seconds by kind of process."""
    timings: dict[str, float] = field(default_factory=dict)
    """`status.timings` in seconds, in their order."""


class Sampler:
    """CPU seconds of everything below this process, over time."""

    def __init__(self) -> None:
        self._ticks: dict[tuple[int, str], int] = {}
        self._roles: dict[tuple[int, str], str] = {}
        self._series: list[tuple[float, dict[str, float]]] = [(time.time(), {})]
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def at(self, moment: float) -> dict[str, float]:
        """Return CPU seconds by kind of process at a moment, between two samples in proportion."""
        for (earlier, before), (later, after) in zip(self._series, self._series[1:], strict=False):
            if moment <= later:
                share = (moment - earlier) / (later - earlier)
                return {
                    role: before.get(role, 0.0) + share * (value - before.get(role, 0.0))
                    for role, value in after.items()
                }
        raise AssertionError("the first step came after the last sample")

    def close(self) -> None:
        """Take the last sample: a program may end right after what is asked for."""
        self._over.set()
        self._thread.join()
        self._sample()

    def _follow(self) -> None:
        while not self._over.wait(INTERVAL_SECONDS):
            self._sample()

    def _sample(self) -> None:
        for process in tree()[1:]:
            with contextlib.suppress(OSError):
                folder = Path(f"/proc/{process}")
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                key = (process, fields[19])
                self._ticks[key] = int(fields[11]) + int(fields[12])
                command = (folder / "cmdline").read_bytes().decode(errors="replace").replace("\0", " ")
                if command.strip():
                    self._roles[key] = role_of(command)
        sums: dict[str, float] = defaultdict(float)
        for key, ticks in self._ticks.items():
            sums[self._roles.get(key, "other")] += ticks / TICKS
        self._series.append((time.time(), dict(sums)))


def role_of(command: str) -> str:
    """Name the kind of a process."""
    known = {
        "gcs/gcs_server": "gcs_server",
        "default_worker.py": "Ray worker, starting",
        "dashboard/dashboard.py": "dashboard",
        "dashboard/agent.py": "dashboard agent",
        "runtime_env/agent": "runtime env agent",
        "log_monitor.py": "log monitor",
        "autoscaler": "autoscaler",
        "raylet/raylet": "raylet",
        "seedbed.cli": "driver",
        "plain_ray_train": "driver",
    }
    if command.startswith("ray::"):
        return command.strip().partition("(")[0].partition(".")[0]
    dashboard = "ray-dashboard-"
    if command.startswith(dashboard):
        return "dashboard"
    return next((role for part, role in known.items() if part in command), "other")


def measure(case: Case, data: Path) -> Measured:
    """Run one case to its end."""
    with tempfile.TemporaryDirectory(prefix="bench-start-") as name:
        folder = Path(name)
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SEEDBED_"))}
        environment["RAY_USAGE_STATS_ENABLED"] = "0"
        sampler = Sampler()
        began = time.time()
        command = _peer(case, data, folder) if case.feed is None else _ours(case, data, folder)
        output = (folder / "out", folder / "err")
        with output[0].open("wb") as out, output[1].open("wb") as err:
            code = subprocess.call(command, env=environment, stdout=out, stderr=err, cwd=folder)
        sampler.close()
        _wait_for_orphans()
        if code:
            raise SystemExit(f"{case}: exit code {code}\n{output[1].read_text()[-3000:]}")
        timings = {} if case.feed is None else _timings(json.loads(output[0].read_text()))
        first = float((folder / "marker").read_text()) if case.feed is None else began + sum(timings.values())
        roles = sampler.at(first)
        return Measured(wall=first - began, cpu=sum(roles.values()), roles=roles, timings=timings)


def _peer(case: Case, data: Path, folder: Path) -> list[str]:
    script = Path(__file__).with_name("plain_ray_train.py")
    return [sys.executable, str(script), str(data / "images"), str(case.workers), str(folder / "marker")]


def _ours(case: Case, data: Path, folder: Path) -> list[str]:
    execution = {
        "dataset": {"uri": str(data / "digits")},
        "output": {"uri": str(folder / "runs")},
        "cluster": {"workers": {"min": case.workers, "max": case.workers}, "feed": case.feed},
    }
    job = JOB | {"spec": JOB["spec"] | execution}
    (folder / "job.json").write_text(json.dumps(job))
    return [sys.executable, "-m", "seedbed.cli", "run", "-f", str(folder / "job.json"), "-o", "json"]


def _timings(status: dict[str, Any]) -> dict[str, float]:
    assert status["attempts"] == 1
    assert any(condition["reason"] == "Trained" for condition in status["conditions"])
    timings = {timing["name"]: timing["milliseconds"] / 1000 for timing in status["timings"]}
    assert "FirstStep" in timings, status
    return timings


def _adopt_orphans() -> None:
    """Stay the ancestor of processes whose parent ended, so that none leaves the tree."""
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1)


def _wait_for_orphans(seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    with contextlib.suppress(ChildProcessError):
        while time.monotonic() < end:
            if os.waitpid(-1, os.WNOHANG) == (0, 0):
                time.sleep(0.1)


def prepare(folder: Path) -> None:
    """Write pictures and dataset, and byte code for everyone: without it the imports would be measured."""
    for package in ("seedbed", "seedbed_api", "ray", "torch", "pandas", "pyarrow", "numpy", "pydantic"):
        spec = find_spec(package)
        assert spec is not None
        for place in spec.submodule_search_locations or ():
            compileall.compile_dir(place, quiet=2, workers=0)
    write = [str(ROOT / "examples/digits/write_digits.py"), str(folder / "images")]
    build = ["-m", "seedbed.cli", "dataset", "build", str(folder / "images"), str(folder / "digits")]
    for arguments in (write, build):
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)


def median(runs: list[Measured], what: str) -> float:
    """Return the median of a figure."""
    return statistics.median(getattr(run, what) for run in runs)


def page(results: dict[Case, list[Measured]], repetitions: int) -> str:
    """Return the results as Markdown."""
    lines = [
        "# Process start to first step",
        "",
        "This page compares the time from the start of a process to the end of its first optimizer step.",
        "`make bench-start` runs `seedbed run` and an ordinary script",
        "([plain_ray_train.py](../../benchmarks/plain_ray_train.py): `ray.init()`, `TorchTrainer` with",
        "defaults, a torch DataLoader over PNG files). Both train the same network on scikit-learn's digits,",
        "64 images per step. CPU seconds are those of the whole process tree. Both have compiled byte code",
        "and Ray's usage statistics off; every run of Seedbed has a new output store.",
        "",
        f"{machine()} Medians of {repetitions} repetitions, interleaved (range in brackets).",
        "",
        "| W | program | CPU-s | wall s | CPU / peer | wall / peer | goal |",
        "| ---: | --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for case, runs in results.items():
        lines.append(_row(case, runs, results[Case(name=PEER, workers=case.workers)]))
    return "\n".join([*lines, "", *_parts(results), "", *_roles(results), ""])


def _row(case: Case, runs: list[Measured], peer: list[Measured]) -> str:
    cells = [str(case.workers), case.name]
    for what in ("cpu", "wall"):
        values = [getattr(run, what) for run in runs]
        cells.append(f"{statistics.median(values):.1f} ({min(values):.1f}–{max(values):.1f})")
    if case.feed is None:
        return f"| {' | '.join(cells)} |  |  |  |"
    cpu, wall = (median(runs, what) / median(peer, what) for what in ("cpu", "wall"))
    goal = GOALS[case.workers]
    verdict = "met" if cpu <= goal else "missed"
    return f"| {' | '.join(cells)} | {cpu:.2f} | {wall:.2f} | ≤ {goal:.2f}: {verdict} |"


def _parts(results: dict[Case, list[Measured]]) -> list[str]:
    """Return `status.timings` as a table; their sum is the wall time to the first step."""
    ours = {case: runs for case, runs in results.items() if case.feed is not None}
    names = list(dict.fromkeys(name for runs in ours.values() for run in runs for name in run.timings))
    longest = max(ours.values(), key=lambda runs: len(runs[0].timings))[0].timings
    names.sort(key=lambda name: list(longest).index(name) if name in longest else 0)
    lines = [
        "Wall time by part, from `status.timings` (ms, medians):",
        "",
        f"| part | {' | '.join(f'W = {case.workers}, {case.feed}' for case in ours)} |",
        f"| --- |{' ---: |' * len(ours)}",
    ]
    for name in names:
        cells = []
        for runs in ours.values():
            known = [run.timings[name] for run in runs if name in run.timings]
            cells.append(f"{1000 * statistics.median(known):.0f}" if known else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def _roles(results: dict[Case, list[Measured]]) -> list[str]:
    """Return CPU seconds by kind of process as a table."""
    mean = {
        case: {
            role: statistics.mean(run.roles.get(role, 0.0) for run in runs)
            for role in {role for run in runs for role in run.roles}
        }
        for case, runs in results.items()
    }
    roles = sorted({role for by_role in mean.values() for role in by_role})
    heads = [f"W = {case.workers}, {case.feed or 'peer'}" for case in mean]
    lines = [
        "CPU seconds by kind of process (means):",
        "",
        f"| process | {' | '.join(heads)} |",
        f"| --- |{' ---: |' * len(heads)}",
    ]
    for role in roles:
        cells = [f"{by_role[role]:.1f}" if role in by_role else "" for by_role in mean.values()]
        lines.append(f"| {role} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    """Measure, print, and write the page where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--data", type=Path, help="folder to keep pictures and dataset in")
    parser.add_argument("--only", default="", help="cases whose name or W=N holds this text")
    parser.add_argument("--write", type=Path, help="page to write, as docs/results/start.md")
    arguments = parser.parse_args()
    _adopt_orphans()
    folder = arguments.data or Path(tempfile.mkdtemp(prefix="bench-start-data-"))
    try:
        if not (folder / "digits").exists():
            prepare(folder)
        cases = [case for case in CASES if arguments.only in f"{case.name} W={case.workers} {case.feed}"]
        results: dict[Case, list[Measured]] = {case: [] for case in cases}
        for repetition in range(arguments.repetitions):
            for case in cases:
                run = measure(case, folder)
                results[case].append(run)
                told = f"{run.cpu:.1f} CPU-s, {run.wall:.1f} s"
                print(f"{repetition}: W={case.workers} {case.name}: {told}", file=sys.stderr)
        for case, runs in results.items():
            for run in runs:
                print(f"W={case.workers} {case.name}", run.timings, run.roles, file=sys.stderr)
        if len(cases) < len(CASES):
            return
        text = page(results, arguments.repetitions)
        print(text)
        if arguments.write:
            arguments.write.write_text(text)
    finally:
        if arguments.data is None:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
