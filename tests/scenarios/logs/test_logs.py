"""Runs on one machine leave their log in the store: killed and continued, of sweeps, refused, removed with the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from seedbed.driver.driver_state import RunRequest
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import RunOptions
from seedbed.driver.run_driver import run_job
from seedbed.receipts import read_receipt
from seedbed.storage import open_storage
from seedbed_api.manifest_loader import training_job
from support.eventually import LiveProcess, eventually
from support.runs.command_line import Scene, dataset
from support.runs.sweep_commands import Desk

pytestmark = pytest.mark.scenario
PATIENCE = 300.0


@pytest.fixture(scope="session")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("logs") / "data")


def said(scene: Scene | Desk, *words: object) -> list[str]:
    """Return the messages that `seedbed logs` tells of the store of this folder."""
    answer = scene.type("logs", scene.folder / "runs", *words, "-o", "json")
    assert answer.exit_code == 0, answer.stderr
    return [json.loads(line)["message"] for line in answer.stdout.splitlines()]


GATED = """
import os
import time
from pathlib import Path
import torch

class Net(torch.nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = torch.nn.Linear(3, classes)

    def forward(self, images):
        print("a word of the model")
        gate = os.environ.get("GATE")
        while gate and not Path(gate).exists():
            time.sleep(0.05)
        return self.head(images.mean((2, 3)))

class Gated:
    def build(self, args):
        return Net(int(args["classes"]))
"""
"""Says something, and waits until it may go on."""


@pytest.fixture
def started() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start commands of ours in processes of their own; whatever a test leaves behind is ended."""
    processes: list[subprocess.Popen[str]] = []

    def start(*words: object, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-u", "-m", "seedbed.cli", *map(str, words)]
        processes.append(
            subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def until(ready: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    eventually(
        ready,
        what="what the command writes",
        seconds=PATIENCE,
        servers=(LiveProcess("the command", process),),
    )


def test_a_run_that_was_killed_and_continued_is_told_in_order_also_to_who_follows(
    scene: Scene, started: Callable[..., subprocess.Popen[str]]
) -> None:
    scene.job(model={"entrypoint": "mine:Gated"})
    code = scene.code(GATED)
    first = started("run", "-f", scene.manifest, "--code", code, GATE=str(scene.folder / "gate"))
    pieces = lambda: list(scene.runs.glob("logs/*/1/tiny-1-driver/000000.log"))  # noqa: E731
    until(lambda: pieces() and b"a word of the model" in pieces()[0].read_bytes(), first)
    first.kill()
    first.wait()
    before = pieces()[0].read_bytes()
    follower = started("logs", scene.runs, "tiny", "--follow", "-o", "json")
    follower_has, seen = threading.Event(), []

    def follow() -> None:
        assert follower.stdout is not None
        for line in follower.stdout:
            seen.append(json.loads(line)["message"])
            if seen[-1] == "attempt 2 ends":
                follower_has.set()
                return

    threading.Thread(target=follow, daemon=True).start()
    second_try = started("run", "-f", scene.manifest, "--code", code, "-o", "json")
    status = json.loads(second_try.communicate(timeout=PATIENCE)[0])
    assert second_try.returncode == 0
    assert follower_has.wait(PATIENCE)
    told = said(scene, status["runID"])
    assert told == seen == said(scene, "tiny")
    assert pieces()[0].read_bytes() == before, "what the first attempt said is as it was"
    second = told.index(next(line for line in told if line.startswith("attempt 2 begins")))
    assert told[0].startswith(f"attempt 1 begins: process {first.pid} ")
    assert "a word of the model" in told[1:second]
    assert "attempt 1 ends" not in told, "it was killed"
    assert any("step 6/6" in line for line in told[second:])
    assert told[-1] == "attempt 2 ends"
    assert said(scene, "tiny", "--attempt", 2) == told[second:]


def identities(output: Path) -> tuple[str, bytes, list[str]]:
    """Return what a run came to: digest of its receipt, its outcome with all weights, the names of its objects."""
    (run,) = (output / "runs").iterdir()
    receipt = read_receipt(open_storage(str(run)))
    names = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())
    other = ("events/", "owner")  # as many events as there were looks; a caller of the library has no owner
    kept = [name for name in names if not name.startswith(other)]
    return receipt.deterministic_digest, (run / "outcome.json").read_bytes(), kept


def test_with_a_log_and_without_and_with_one_that_is_refused_the_run_is_the_same(scene: Scene) -> None:
    job = scene.job()
    done = scene.run("-o", "json")
    assert said(scene, "tiny")[-1] == "attempt 1 ends"

    scene.job(output__uri=str(scene.folder / "without"))
    with ProgressDisplay("tiny", interactive=False) as display:
        request = RunRequest(
            job=training_job(json.loads(job.read_text())),
            options=RunOptions(),
            display=display,
            stopping=threading.Event(),
        )
        assert run_job(request).exit_code == 0
    assert not (scene.folder / "without" / "logs").exists()

    refusing = scene.folder / "refusing"
    refusing.mkdir()
    (refusing / "logs").write_text("no folder")
    scene.job(output__uri=str(refusing))
    refused = scene.run("-o", "json")
    assert refused.exit_code == 0
    assert "the log of this run is not stored: " in refused.stderr
    assert (refusing / "logs").read_text() == "no folder"

    assert refused.status["model"]["weightsDigest"] == done.status["model"]["weightsDigest"]
    assert identities(scene.runs) == identities(scene.folder / "without") == identities(refusing)


def test_a_run_that_is_complete_says_nothing_more_and_its_log_goes_with_it(scene: Scene) -> None:
    scene.job()
    run = scene.run("-o", "json").status["runID"]
    told = said(scene, "tiny")
    scene.run()
    assert said(scene, "tiny") == told
    listed = scene.type("logs", scene.runs)
    assert listed.stdout == f"tiny  {run.removeprefix('sha256:')}  attempt 1  1 log\n"
    assert scene.type("runs", "prune", scene.runs, run, "--yes").exit_code == 0
    assert not list((scene.runs / "logs").rglob("*.log"))
    assert "no logs here" in scene.type("logs", scene.runs).stderr


@pytest.mark.parametrize(
    ("words", "line"),
    [
        pytest.param(["rose"], "RUN: has no log here (got 'rose')", id="a run that is not there"),
        pytest.param(["tiny", "--attempt", "7"], "attempt 7", id="an attempt that is not there"),
        pytest.param(["tiny", "--pod", "tiny-9-driver"], "tiny-1-driver", id="a process that is not there"),
    ],
)
def test_what_is_not_there_is_one_line_that_names_what_is(scene: Scene, words: list[str], line: str) -> None:
    scene.job(training__steps=1, evaluation=None)
    scene.run()
    answer = scene.type("logs", scene.runs, *words)
    (error,) = answer.errors
    assert answer.exit_code == 2
    assert line in error
    assert "tiny" in error


def test_a_sweep_has_a_log_and_each_trial_its_own(desk: Desk) -> None:
    done = desk.sweep(maxTrialCount=2)
    assert done.exit_code == 0, done.stderr
    told = said(desk, "tiny")
    decided = [line for line in told if line.startswith("trial ")]
    assert [line.split("  ")[:2] for line in decided] == [["trial 0", "succeeded"], ["trial 1", "succeeded"]]
    assert (told[0][:16], told[-1]) == ("attempt 1 begins", "attempt 1 ends")
    best = desk.sweep_record()["trials"][1]["runIDs"][0]
    assert said(desk, "tiny-trial-1") == said(desk, best)
    assert any("step 12/12" in line for line in said(desk, best))
    desk.sweep(maxTrialCount=2)
    assert said(desk, "tiny") == told, "what was complete says nothing more"


def test_a_sweep_whose_log_is_refused_comes_to_its_end(desk: Desk) -> None:
    refusing = desk.folder / "refusing"
    refusing.mkdir()
    (refusing / "logs").write_text("no folder")
    done = desk.sweep("refusing", maxTrialCount=1)
    assert done.exit_code == 0
    assert done.stderr.count("the log of this sweep is not stored: ") == 1
    assert len(desk.sweep_record("refusing")["trials"]) == 1
