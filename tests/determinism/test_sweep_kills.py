"""`seedbed run` of a sweep, side by side on Ray Tune, killed with SIGKILL and typed again: one record.

A kill takes the driver, Ray and every process that trains; what is left is the output store.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from determinism.sweep_runs import end, ledger_of, runs_of
from seedbed.runs.attempt_claims import highest_attempt
from seedbed.runs.checkpoint_store import checkpoint_steps
from support.eventually import LiveProcess, eventually
from support.runs.command_line import dataset
from support.runs.sweep_commands import ASHA, a_sweep

pytestmark = [pytest.mark.ray, pytest.mark.exhaustive, pytest.mark.timeout(1500)]

PATIENCE_SECONDS = 600.0
KILLS = [pytest.param(2, id="twice"), pytest.param(10, id="ten times")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("sweep-kills") / "data", train=8, validation=4)


def manifest(data: Path, folder: Path, **changes: Any) -> Path:
    """Write a sweep of 8 trials of 40 epochs: long enough to be hit, on a busy machine too."""
    fields: dict[str, Any] = {"maxTrialCount": 8, "earlyStopping": ASHA, "training": {"epochs": 40}} | changes
    path = folder / f"{len(list(folder.glob('*.json')))}.json"
    path.write_text(json.dumps(a_sweep(data, folder / "runs", **fields)), encoding="utf-8")
    return path


def start(manifest: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(manifest)]
    return subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, env=os.environ)


def kept(output: Path) -> int:
    """Return the steps that are kept in a store, over all runs."""
    return sum(max(checkpoint_steps(run), default=0) for run in runs_of(output))


def kill_after_progress(process: subprocess.Popen[bytes], output: Path, *, more: int) -> None:
    """Kill the command and all of its processes when so many more steps are kept."""
    before = kept(output)
    eventually(
        lambda: kept(output),
        lambda steps: steps >= before + more,
        what=f"{more} steps more than {before}",
        seconds=PATIENCE_SECONDS,
        every=0.02,
        servers=(LiveProcess("the sweep", process),),
    )
    everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    assert len(everything) > 3, "Ray ran beside the driver"
    end(everything)
    process.wait()


@pytest.mark.parametrize("kills", KILLS)
def test_a_sweep_that_is_killed_again_and_again_gives_the_ledger_of_one_that_is_not(
    kills: int, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "hit").mkdir()
    (tmp_path / "straight").mkdir()
    assert start(manifest(data, tmp_path / "straight")).wait(timeout=PATIENCE_SECONDS) == 0
    total = kept(tmp_path / "straight/runs")
    side_by_side = manifest(data, tmp_path / "hit", parallelTrialCount=2)
    chance = random.Random(kills)
    for _ in range(kills):
        hit = start(side_by_side)
        kill_after_progress(
            hit, tmp_path / "hit/runs", more=chance.randrange(4, max(6, total // (2 * kills)))
        )
        assert not list((tmp_path / "hit/runs").glob("sweeps/*/ledger.json"))
    assert start(side_by_side).wait(timeout=PATIENCE_SECONDS) == 0
    assert ledger_of(tmp_path / "hit/runs") == ledger_of(tmp_path / "straight/runs")
    assert max(map(highest_attempt, runs_of(tmp_path / "hit/runs"))) > 2, "a run was continued"
