"""Sweeps against their peers: the cost of a trial, of a reused run, and the time to a good model.

Every program is a separate process (benchmarks/sweeps/); repetitions are interleaved. CPU seconds are those
of its whole tree, sampled every 0.1 s. Figures are stored as lines of JSON, so that parts can run separately.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from start import Sampler, _adopt_orphans, _wait_for_orphans
from sweeps.pages import page
from sweeps.problems import Digits

HERE = Path(__file__).parent
CACHE = Path.home() / ".cache/seedbed/bench-sweep"
PEERS = {"syne-tune": "syne-tune==0.16.0"}
"""Peers that are not in the lock, each in an environment of its own."""
TRIALS = {"seedbed": 200, "tune-reuse": 200, "tune-default": 20, "optuna": 200, "syne-tune": 20}
"""Of the slowest fewer are run; all figures are per trial."""
PARTS = ("noop", "memo", "digits", "large")
SECONDS = 580


def measure(command: list[str]) -> dict[str, Any]:
    """Run a program and return what it says, with the CPU seconds of its tree meanwhile."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "SEEDBED_", "TUNE_"))}
    environment |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_TRAIN_V2_ENABLED": "1", "OMP_NUM_THREADS": "1"}
    load = os.getloadavg()[0]
    sampler = Sampler()
    try:
        answer = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return {"notRun": f"not done after {SECONDS} s"}
    finally:
        sampler.close()
        _wait_for_orphans()
    if answer.returncode:
        return {"notRun": f"exit code {answer.returncode}: {answer.stderr.strip()[-300:]}"}
    figures: dict[str, Any] = json.loads(answer.stdout.strip().splitlines()[-1])
    cpu = [sum(sampler.at(figures[moment]).values()) for moment in ("began", "ended")]
    return figures | {"load": load} | {"wall": figures["ended"] - figures["began"], "cpu": cpu[1] - cpu[0]}


def interpreter(case: str) -> str:
    """Return the Python of a case; installs a peer that the lock does not have."""
    if case not in PEERS:
        return sys.executable
    folder = CACHE / case
    if not (folder / "bin/python").exists():
        uv = str(Path(sys.executable).with_name("uv"))
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bin/python"), PEERS[case]]
        subprocess.run(install, check=True)
    return str(folder / "bin/python")


def noop(only: str) -> Iterator[dict[str, Any]]:
    """Measure trials that do nothing."""
    for case, trials in TRIALS.items():
        if only not in case:
            continue
        try:
            python = interpreter(case)
        except subprocess.CalledProcessError as error:
            yield {"case": case, "notRun": f"could not be installed: {error}"}
            continue
        yield {"case": case} | measure([python, str(HERE / "sweeps/noops.py"), case, str(trials)])


def large(only: str) -> Iterator[dict[str, Any]]:
    """Measure what a driver holds after few and after many trials."""
    del only
    for trials in (200, 5000):
        yield {"case": f"{trials}"} | measure(
            [sys.executable, str(HERE / "sweeps/noops.py"), "simulated", str(trials)]
        )


def memo(only: str) -> Iterator[dict[str, Any]]:
    """Measure hits: 40 trials of one epoch, whose ledger is removed."""
    del only
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as name:
        problem = Digits(Path(name), seed=1)
        manifest = problem.manifest("hits", points=40, epochs=1, parallelTrialCount=1)
        problem.run(manifest)
        problem.forget("hits")
        yield {"case": "hit"} | measure([sys.executable, str(HERE / "sweeps/hits.py"), str(manifest)])


def digits(only: str, seed: int = 1) -> Iterator[dict[str, Any]]:
    """Measure the way to the best loss of a random search, from the start of the process."""
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as name:
        problem = Digits(Path(name), seed=seed)
        yield from (row for row in problem.cases(measure) if only in row["case"])


def main() -> None:
    """Measure the parts that are asked for, keep the figures, and write the page where asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="*", default=PARTS, choices=PARTS)
    parser.add_argument("--only", default="", help="cases whose name holds this text")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--keep", type=Path, default=CACHE / "figures.jsonl", help="where figures are added")
    parser.add_argument("--fresh", action="store_true", help="forget figures that were kept")
    parser.add_argument("--write", type=Path, help="page to write, as docs/results/sweep.md")
    arguments = parser.parse_args()
    _adopt_orphans()
    arguments.keep.parent.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        arguments.keep.unlink(missing_ok=True)
    parts = {"noop": noop, "memo": memo, "large": large}
    for repetition in range(arguments.repetitions):
        for part in arguments.parts:
            measure_part = parts.get(part, lambda only, seed=repetition + 1: digits(only, seed))
            for row in measure_part(arguments.only):
                print(part, row, file=sys.stderr, flush=True)
                with arguments.keep.open("a") as kept:
                    kept.write(json.dumps({"part": part} | row) + "\n")
    rows: list[dict[str, Any]] = []
    with contextlib.suppress(FileNotFoundError):
        rows = [json.loads(line) for line in arguments.keep.read_text().splitlines()]
    text = page(rows)
    print(text)
    if arguments.write:
        arguments.write.write_text(text)


if __name__ == "__main__":
    main()
