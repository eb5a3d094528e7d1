"""What lies in the output is damaged, held by others, or cut off in the middle: mended where it can be, else named."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from support.runs.command_line import Scene, Typed, edited, flipped

PATIENCE = 240.0
"""Seconds for a process on a busy machine."""
NOT_DONE = ("result.json", "receipt.json", "outcome.json")


def bit(*names: str, glob: str | None = None) -> Callable[[Path], None]:
    """Return what flips one bit of objects and forgets that the run was over."""

    def spoil(run: Path) -> None:
        for name in names:
            (run / name).unlink()
        assert glob is not None
        spoiled = [path for path in run.glob(glob) if path.stat().st_size]
        assert spoiled
        for path in spoiled:
            edited(path, lambda data: flipped(data, at=len(data) // 2))

    return spoil


def digest(answer: Typed) -> str:
    assert answer.exit_code == 0, answer.stderr
    return answer.status["model"]["weightsDigest"]


MENDED = {
    "result": bit(glob="result.json"),
    "receipt of a run that did not end": bit("result.json", glob="receipt.json"),
    "outcome": bit("result.json", glob="outcome.json"),
    "newest checkpoint": bit(*NOT_DONE, glob="checkpoints/*6.json"),
    "all checkpoints": bit(*NOT_DONE, glob="checkpoints/*"),
    "all blobs": bit(*NOT_DONE, glob="blobs/*"),
    "evaluations": bit(*NOT_DONE, glob="evaluations/validation-*"),
}


QUICK = ("result", "newest checkpoint", "all blobs")
"""What the unit tier tries; the others take as long and differ little."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in MENDED]
)
def test_damage_that_the_run_can_mend_costs_time_and_no_bit(scene: Scene, name: str) -> None:
    scene.job()
    whole = scene.run("-o", "json")
    MENDED[name](scene.run_folder())
    assert digest(scene.run("-o", "json")) == digest(whole)
    again = scene.run("-o", "json")
    assert {c["reason"] for c in again.status["conditions"]} == {"AlreadyComputed"}


LASTING = {
    "recipe": (bit(*NOT_DONE, glob="recipe.json"), ("RunFolderConflict", "recipe.json", "differ from byte")),
    "model": (bit(*NOT_DONE, glob="model/model.*"), ("RunFolderConflict", "model.safetensors", "differ")),
}


@pytest.mark.parametrize("name", LASTING)
def test_damage_that_only_a_person_can_judge_is_named(scene: Scene, name: str) -> None:
    spoil, says = LASTING[name]
    scene.job()
    scene.run()
    spoil(scene.run_folder())
    answer = scene.run("-o", "json")
    (line,) = answer.errors
    assert [word for word in says if word not in line] == [], line
    assert (answer.exit_code, answer.status["lastFailure"]["exitCode"]) == (2, 2)
    assert not (scene.run_folder() / "result.json").exists()


def test_ledger_that_was_damaged_leaves_the_run_without_report_and_says_so(scene: Scene) -> None:
    scene.job()
    scene.run()
    bit("result.json", glob="ledger/*")(scene.run_folder())
    answer = scene.run()
    assert answer.exit_code == 0
    assert "no report: " in answer.stderr
    assert "Traceback" not in answer.stderr


# -- the place itself


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a tmpfs that holds some checkpoints and not all, where this machine lets us."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode != 0:
        pytest.skip("not run: no right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_disk_that_fills_up_is_one_line_and_more_room_lets_the_run_go_on(
    scene: Scene, small_disk: Path
) -> None:
    wide = [{"name": "width", "value": "8"}]
    scene.job(model__args=wide, output__uri=str(small_disk))
    answer = scene.run("-o", "json")
    (line,) = answer.errors
    assert line.startswith("error: OutputUnwritable: spec.output.uri: no space left on device"), line
    assert "free space" in line
    assert answer.exit_code == 2
    assert not list(small_disk.rglob("result.json"))
    assert not [path for path in small_disk.rglob("*") if path.name.startswith(".seedbed-aside")]
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)
    mended = scene.run("-o", "json")
    scene.job(model__args=wide)
    assert digest(mended) == digest(scene.run("-o", "json"))


# -- told to stop


class Process:
    """A `seedbed run` of its own process."""

    def __init__(self, scene: Scene, *words: str) -> None:
        command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(scene.manifest), *words]
        environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
        self.errors = scene.folder / f"stderr-{uuid.uuid4().hex}"
        with self.errors.open("w") as errors:
            self.child = subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def says(self, text: str) -> bool:
        """Tell whether it has said something on stderr so far."""
        return text in self.errors.read_text()

    def after(self, ready: Callable[[], bool], *signals: int) -> tuple[int, str, str]:
        """Send signals once something is there; return exit code, stdout and stderr."""
        deadline = time.monotonic() + PATIENCE
        while not ready():
            assert self.child.poll() is None, self.errors.read_text()
            assert time.monotonic() < deadline, "it was never ready"
            time.sleep(0.01)
        for number in signals:
            self.child.send_signal(number)
            while waits(self.child.pid, number):  # another one of the same number would be lost in it
                time.sleep(0.01)
            time.sleep(0.5)
        out, _ = self.child.communicate(timeout=PATIENCE)
        return self.child.returncode, out, self.errors.read_text()


def waits(pid: int, number: int) -> bool:
    """Say whether a signal was sent to a process and has not come there."""
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return bool(int(status["ShdPnd"], 16) >> (number - 1) & 1) and "Z" not in status["State"]


def checkpoints(scene: Scene) -> list[int]:
    return sorted(int(path.stem) for path in scene.runs.glob("runs/*/checkpoints/*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "Ctrl-C"])
def test_run_that_was_told_to_stop_goes_on_from_its_checkpoint(scene: Scene, number: int) -> None:
    scene.job(training__steps=600, checkpoint__everySteps=100, evaluation__everySteps=100)
    code, out, err = Process(scene, "-o", "json").after(lambda: bool(checkpoints(scene)), number)
    assert code == 143, err
    status = json.loads(out)
    step = status["progress"]["step"]
    assert 100 < step < 600
    assert checkpoints(scene)[-1] == step, "the last step was not kept"
    assert {c["reason"] for c in status["conditions"]} == {"Suspended"}
    assert "completionTime" not in status
    assert err.splitlines()[-1] == f"stopped after step {step} of 600; the same command continues"
    answer = scene.run("-o", "json")
    assert f"continues from the checkpoint of step {step}" in answer.stderr
    assert answer.status["attempts"] == 2
    straight = scene.run("-o", "json", "--output", scene.folder / "straight")
    assert digest(answer) == digest(straight)


@pytest.mark.slow
def test_second_ctrl_c_ends_at_once(scene: Scene) -> None:
    building = scene.folder / "building"
    source = (
        "import pathlib, time\nclass Net:\n    def build(self, args):\n"
        f"        pathlib.Path({str(building)!r}).touch()\n        time.sleep(600)\n"
    )
    scene.job(model={"entrypoint": "mine:Net"})
    process = Process(scene, "--code", str(scene.code(source)))
    code, _, err = process.after(building.exists, signal.SIGINT, signal.SIGINT)
    assert code == 130, err
    assert err.splitlines()[-1].startswith("error: Interrupted")
    assert "Traceback" not in err


@pytest.mark.slow
def test_waiting_for_another_process_can_be_stopped(scene: Scene) -> None:
    scene.job(training__steps=100_000, checkpoint__everySteps=100)
    first = Process(scene)
    second = None
    try:
        while not checkpoints(scene):
            assert first.child.poll() is None, first.errors.read_text()
            time.sleep(0.05)
        second = Process(scene)
        waits = f"process {first.child.pid} on "
        code, _, err = second.after(lambda: second.says(waits), signal.SIGTERM)
        assert (code, err.splitlines()[-1]) == (
            143,
            "stopped before the first step; the same command continues",
        )
    finally:
        for process in filter(None, (first, second)):
            process.child.kill()
            process.child.wait()
