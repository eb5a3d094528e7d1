"""`seedbed run` on real Ray, killed with SIGKILL and run again with another worker count: one digest.

A chain is honest when the victim lived, when what follows begins at a checkpoint of its own run, after step 0,
with another worker count, and when no more steps are done twice than lie between two checkpoints.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from determinism.sweep_runs import end
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.log_store import list_logs, read_in_order, select_logs
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.eventually import LiveProcess, eventually
from support.runs.job_builder import AUGMENTED, Recipe, Way, a_job, digest_of, groups, manifest, prove, run

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1500)]

EVERY = 10
RECIPE = Recipe(
    args={"width": "8", "dropout": "0.2"},
    leaves=8,
    leaf_rows=8,
    steps=240,
    augmentation=[{**AUGMENTED[0], "randomResizedCrop": {"size": 32, "scaleMin": "0.5"}}, AUGMENTED[1]],
    training={
        "learningRateSchedule": {"type": "Cosine", "warmupSteps": 10},
        "ema": {"decay": "0.99", "startStep": 20},
    },
)
PATIENCE_SECONDS = 400.0


@pytest.fixture(scope="module")
def straight(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of one worker, straight through, in a store of its own."""
    output = tmp_path_factory.mktemp("straight")
    ended = run(a_job(RECIPE, Way(every_steps=1000), data=digits, output=output))
    prove(ended)
    return digest_of(ended)


@dataclass(kw_only=True)
class Command:
    """A running `seedbed run`."""

    process: subprocess.Popen[str]
    output: Path

    def folder(self) -> RunFolder | None:
        """Return the run folder once it is there."""
        found = list((self.output / "runs").glob("*"))
        assert len(found) <= 1, "one recipe, one run"
        return open_run(open_storage(str(self.output)), f"sha256:{found[0].name}") if found else None

    def newest(self) -> int:
        """Return the newest checkpoint's step, 0 without one."""
        folder = self.folder()
        return max(checkpoint_steps(folder), default=0) if folder else 0

    def told(self) -> list[list[dict[str, Any]]]:
        """Return what each worker group told of its steps."""
        folder = self.folder()
        return groups(folder) if folder else []

    def wait_for_checkpoint(self, after: int, *, told: int = 1) -> int:
        """Wait, while the command lives, for a checkpoint later than `after` by a group that has told of itself.

        The driver looks some times a second: a fast group has checkpoints before it is heard of. Return the step.
        """
        step, _ = eventually(
            lambda: (self.newest(), len(self.told())),
            lambda seen: seen[0] > after and seen[1] >= told,
            what=f"a checkpoint after step {after} by group {told} (step, groups)",
            seconds=PATIENCE_SECONDS,
            every=0.02,
            servers=(LiveProcess("the run", self.process),),
        )
        return step

    def descendants(self) -> list[psutil.Process]:
        """Return the driver's children and theirs, Ray's daemons and workers."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill_driver(self) -> None:
        """End the driver with SIGKILL; its Ray notices by itself."""
        orphans = self.descendants()
        assert self.process.poll() is None, "the victim lived"
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(orphans, timeout=30)
        end(orphans)

    def kill_a_worker(self) -> None:
        """End one training worker with SIGKILL."""
        workers = [child for child in self.descendants() if "RayTrainWorker" in title_of(child)]
        assert workers, "a training worker lived"
        workers[-1].kill()

    def kill_everything(self) -> None:
        """End the driver and all of its Ray with SIGKILL, at once."""
        everything = [psutil.Process(self.process.pid), *self.descendants()]
        assert self.process.poll() is None, "the victim lived"
        end(everything)
        self.process.wait()


def title_of(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


@pytest.fixture
def start(digits: Path, tmp_path: Path) -> Iterator[Callable[[Way], Command]]:
    """Start the same command with other workers; whatever a test leaves behind is ended."""
    commands: list[Command] = []
    environment = tmp_path / "an environment"  # Ray makes words for the shell of the path of Python
    environment.symlink_to(sys.prefix)

    def started(way: Way) -> Command:
        output = tmp_path / "runs"
        path = tmp_path / f"{len(commands)}.json"
        path.write_text(json.dumps(manifest(RECIPE, way, data=digits, output=str(output))))
        python = str(environment / "bin/python")
        arguments = [python, "-m", "seedbed.cli", "run", "-f", str(path), "-o", "json"]
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=os.environ)
        commands.append(Command(process=process, output=output))
        return commands[-1]

    yield started
    for command in commands:
        if command.process.poll() is None:
            command.kill_everything()


def finished(command: Command) -> dict[str, object]:
    """Wait for the end; return the status."""
    stdout, _ = command.process.communicate(timeout=PATIENCE_SECONDS * 2)
    assert command.process.returncode == 0
    return dict(json.loads(stdout))


def check_chain(command: Command, *, attempts: int) -> None:
    """Check that each group but the first began at a checkpoint after step 0 and repeated at most EVERY steps."""
    folder = command.folder()
    assert folder is not None
    told = groups(folder)
    assert len({group[0]["workers"] for group in told}) > 1, "the worker count changed"
    assert {group[0]["attempt"] for group in told} == set(range(1, attempts + 1))
    reached = max(event["step"] for event in told[0])
    for group in told[1:]:
        began = group[0]["resumedFrom"]
        assert began > 0
        assert began % EVERY == 0
        assert reached - began <= EVERY
        reached = max(reached, *(event["step"] for event in group))
    assert reached == RECIPE.steps


def said_by(folder: RunFolder, *, attempt: int) -> list[dict[str, object]]:
    """Return the log of an attempt."""
    logs = select_logs(folder.output, list_logs(folder.output), folder.name, attempt=attempt).logs
    return [json.loads(line) for _, line in read_in_order(folder.output, logs, last=True)]


def weights_of(status: dict[str, object]) -> object:
    model = status["model"]
    assert isinstance(model, dict)
    return model["weightsDigest"]


@pytest.mark.exhaustive
def test_driver_killed_then_three_workers(start: Callable[[Way], Command], straight: str) -> None:
    first = start(Way(least=2, most=2, feed="RayData", every_steps=EVERY))
    first.wait_for_checkpoint(after=EVERY)
    first.kill_driver()
    last = start(Way(least=3, most=3, feed="Local", every_steps=EVERY))
    assert weights_of(finished(last)) == straight
    check_chain(last, attempts=2)


def test_worker_killed_then_driver_killed_then_two_workers(
    start: Callable[[Way], Command], straight: str
) -> None:
    first = start(Way(least=1, most=3, feed="RayData", every_steps=EVERY))
    before = first.wait_for_checkpoint(after=0)
    first.kill_a_worker()
    first.wait_for_checkpoint(after=before, told=2)
    first.wait_for_checkpoint(after=first.told()[1][0]["resumedFrom"])
    first.kill_driver()
    last = start(Way(least=2, most=2, feed="RayData", every_steps=EVERY))
    assert weights_of(finished(last)) == straight
    check_chain(last, attempts=2)
    folder = last.folder()
    assert folder is not None
    assert len([group for group in groups(folder) if group[0]["attempt"] == 1]) > 1, "the group was replaced"
    log = said_by(folder, attempt=2)
    assert [record for record in log if "pid" in record], "what workers print is not on the terminal"
    assert log[-1]["message"] == "attempt 2 ends"


@pytest.mark.exhaustive
def test_everything_killed_then_told_to_stop_then_four_workers(
    start: Callable[[Way], Command], straight: str
) -> None:
    first = start(Way(least=2, most=2, feed="Local", every_steps=EVERY))
    before = first.wait_for_checkpoint(after=0)
    first.kill_everything()
    second = start(Way(least=1, most=1, feed="Local", every_steps=EVERY))
    second.wait_for_checkpoint(after=before, told=2)
    second.process.send_signal(signal.SIGTERM)
    stdout, _ = second.process.communicate(timeout=PATIENCE_SECONDS)
    assert second.process.returncode == 143
    assert json.loads(stdout)["conditions"][0]["type"] == "Suspended"
    last = start(Way(least=4, most=4, feed="RayData", every_steps=EVERY))
    assert weights_of(finished(last)) == straight
