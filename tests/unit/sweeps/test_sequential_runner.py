"""A run that does not move ends its process; one that moves, however slowly, never does."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from seedbed.sweeps.sequential_runner import HangWatchdog
from seedbed.training.run_progress import RunProgress
from seedbed_api.manifest_loader import sweep_job
from support.runs.sweep_commands import a_sweep

SPEC = sweep_job(
    a_sweep(Path("data"), Path("runs"), progressDeadlineSeconds=20, preRunningDeadlineSeconds=60)
).spec
SLACK = 0.5


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def at(step: int) -> RunProgress:
    return RunProgress(phase="Training", step=step, total_steps=100, epoch=1)


@pytest.mark.parametrize(
    ("steps_at", "asked_at", "problem"),
    [
        pytest.param((), 60, None, id="it starts slowly"),
        pytest.param((), 60 + SLACK, "spec.preRunningDeadlineSeconds (60 s)", id="it never starts"),
        pytest.param((59, 78, 97), 117, None, id="every step is slow"),
        pytest.param((59, 78, 97), 117 + SLACK, "spec.progressDeadlineSeconds (20 s)", id="a step hangs"),
    ],
)
def test_silence_is_measured_from_the_last_step(
    steps_at: tuple[int, ...], asked_at: float, problem: str | None
) -> None:
    clock = Clock()
    watch = HangWatchdog(SPEC, tell=print, now=clock)
    for step, moment in enumerate(steps_at):
        clock.now = moment
        watch.update(at(step))
    clock.now = asked_at
    told = watch.problem()
    assert (told is None) == (problem is None)
    assert problem is None or problem in str(told)


def test_the_same_progress_told_again_is_no_step() -> None:
    clock = Clock()
    watch = HangWatchdog(SPEC, tell=print, now=clock)
    for moment in range(30):
        clock.now = moment
        watch.update(at(7))
    assert watch.problem() is not None


def test_what_hangs_is_told_of_and_ended() -> None:
    clock, told, ended, over = Clock(), list[str](), list[int](), threading.Event()

    def end(code: int) -> None:
        ended.append(code)
        over.set()

    with HangWatchdog(SPEC, tell=told.append, end=end, now=clock):
        clock.now = 61.0
        assert over.wait(120)
    assert ended == [75]
    assert told[0].startswith("ProgressDeadlineExceeded")
