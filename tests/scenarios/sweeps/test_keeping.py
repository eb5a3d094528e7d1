"""`seedbed runs`: what lies in a store, what needs it, and what may go."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from seedbed.runs.attempt_claims import highest_attempt
from support.eventually import LiveProcess, eventually
from support.runs.sweep_commands import Desk, a_sweep


def a_job(desk: Desk, store: str, **training: Any) -> Path:
    """Write a TrainingJob with the template of the sweeps."""
    sweep = a_sweep(desk.data, desk.folder / store, training=training)["spec"]
    job = {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "tiny"},
        "spec": sweep["trialTemplate"]["spec"]
        | {"output": sweep["output"], "checkpoint": sweep["checkpoint"]},
    }
    path = desk.folder / "job.json"
    path.write_text(json.dumps(job), encoding="utf-8")
    return path


def listed(desk: Desk, store: str = "runs") -> list[dict[str, Any]]:
    answer = desk.type("runs", "list", desk.folder / store, "-o", "json")
    assert answer.exit_code == 0, answer.stderr
    return list(json.loads(answer.stdout))


@pytest.fixture
def interrupted(desk: Desk) -> Desk:
    """A store with a finished sweep of two trials, and a job that was killed."""
    desk.sweep(maxTrialCount=2)
    kill_a_job(desk)
    return desk


def kill_a_job(desk: Desk) -> None:
    path = a_job(desk, "runs", epochs=400, seed=9)
    before = set((desk.folder / "runs" / "runs").iterdir())
    process = subprocess.Popen([sys.executable, "-m", "seedbed.cli", "run", "-f", path], env=os.environ)
    eventually(
        lambda: [run for run in checkpointed(desk) if run not in before],
        what="a checkpoint of the job",
        seconds=300,
        every=0.02,
        servers=(LiveProcess("the job", process),),
    )
    process.send_signal(signal.SIGSTOP)  # it is not to come to its end while it is looked at
    assert [run["state"] for run in listed(desk)].count("training") == 1
    refused = desk.type("runs", "prune", desk.folder / "runs", the_open_one(desk, "training"), "--yes")
    assert "it is being trained" in refused.stderr
    process.kill()
    process.wait()


def checkpointed(desk: Desk) -> list[Path]:
    return [path.parents[1] for path in (desk.folder / "runs" / "runs").glob("*/checkpoints/*.json")]


def the_open_one(desk: Desk, state: str = "open") -> str:
    (run,) = (run for run in listed(desk) if run["state"] == state)
    return str(run["runID"].removeprefix("sha256:")[:10])


def test_the_list_tells_states_sizes_and_sweeps(interrupted: Desk) -> None:
    runs = listed(interrupted)
    assert sorted(run["state"] for run in runs) == ["complete", "complete", "open"]
    assert all(run["bytes"] > 1000 and run["model"] == "simple-cnn" for run in runs)
    sweeps = {run["state"]: run["sweep"] for run in runs}
    assert sweeps["open"] is None
    assert sweeps["complete"] is not None
    shown = interrupted.type("runs", "show", interrupted.folder / "runs", the_open_one(interrupted))
    assert json.loads(shown.stdout)["recipe"]["training"]["seed"] == 9


def test_pruning_removes_what_nothing_needs_and_only_when_told(interrupted: Desk) -> None:
    desk, store = interrupted, interrupted.folder / "runs"
    name = the_open_one(desk)
    would = desk.type("runs", "prune", store)
    assert would.stdout.startswith(f"would remove  {name}")
    assert "--yes" in would.stderr
    assert len(listed(desk)) == 3
    done = desk.type("runs", "prune", store, "--yes")
    assert done.stdout.startswith(f"removed  {name}")
    assert sorted(run["state"] for run in listed(desk)) == ["complete", "complete"]
    assert not [path for path in (store / "trajectories").rglob("*") if name in path.name]
    again = desk.sweep(maxTrialCount=2)
    assert again.status["conditions"][0]["reason"] == "AlreadyComputed"


def test_a_removed_run_is_trained_anew_by_its_next_attempt(interrupted: Desk) -> None:
    desk = interrupted
    (store,) = [run for run in desk.runs() if run.name.startswith(the_open_one(desk))]
    claimed = highest_attempt(store)
    desk.type("runs", "prune", desk.folder / "runs", "--yes")
    done = desk.type("run", "-f", desk.folder / "job.json", "-o", "json")
    assert done.exit_code == 0, done.stderr
    assert done.status["progress"]["step"] == 1200
    assert highest_attempt(store) == claimed + 2, (
        "pruning claims the run, and the next attempt comes after it"
    )


def test_what_a_sweep_needs_stays(interrupted: Desk) -> None:
    best = interrupted.sweep_record()["trials"][0]["runIDs"][0]
    refused = interrupted.type("runs", "prune", interrupted.folder / "runs", best, "--yes")
    assert refused.exit_code == 2
    assert "needs it" in refused.stderr
    assert len(listed(interrupted)) == 3


def test_a_complete_run_goes_when_it_is_named(desk: Desk) -> None:
    done = desk.type("run", "-f", a_job(desk, "runs"), "-o", "json")
    name = done.status["runID"]
    assert desk.type("runs", "prune", desk.folder / "runs").stdout == ""
    removed = desk.type("runs", "prune", desk.folder / "runs", name, "--yes")
    assert removed.exit_code == 0, removed.stderr
    assert listed(desk) == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(("show", "{store}", "f00"), "RUN: is no run of this store (got 'f00')", id="no run"),
        pytest.param(("list", "sx://nowhere"), "STORE: ", id="no store"),
    ],
)
def test_bad_input_is_one_line(desk: Desk, words: tuple[str, ...], line: str) -> None:
    refused = desk.type("runs", *(word.format(store=desk.folder / "runs") for word in words))
    assert refused.exit_code == 2
    assert line in refused.stderr
    assert len(refused.errors) == 1
