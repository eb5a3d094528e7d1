"""What a worker of a plain gloo group does with a whole training program: run it, or be interrupted in it."""

from __future__ import annotations

from dataclasses import dataclass
from unittest import mock

from seedbed.arithmetic.subtree_exchange import Exchange
from seedbed.training import worker
from seedbed.training.run_progress import RunProgress
from seedbed.training.worker import Worker
from seedbed.training.worker_config import WorkerConfig
from support.runs.no_driver import NoDriver


class InterruptedTraining(Exception):  # noqa: N818 - an event of the test, no error
    """The process would be gone now."""


class Clock(NoDriver):
    """Counts steps, and interrupts every worker before the step after the last that it may do."""

    def __init__(self, survives: int | None) -> None:
        self.survives = survives
        self.started = 0
        self.resumed_from = 0

    def stop_requested(self) -> bool:
        """Be asked once per step, on every worker."""
        if self.started == self.survives:
            raise InterruptedTraining
        self.started += 1
        return False

    def send_progress(self, progress: RunProgress) -> None:
        """Note where the training began."""
        self.resumed_from = progress.resumed_from


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """One attempt: a program, and how many steps it survives; None is to the end."""

    program: WorkerConfig
    survives: int | None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an attempt did."""

    executed: int
    ended: bool


def attempt_unprobed(exchange: Exchange, stretch: Stretch) -> Report:
    """Train as `attempt` does, but compute no leaf twice, as in most steps of a long training."""
    with mock.patch.object(worker, "_checks_determinism", return_value=False):
        return attempt(exchange, stretch)


def attempt(exchange: Exchange, stretch: Stretch) -> Report:
    """Train until the end or the interruption."""
    clock = Clock(stretch.survives)
    try:
        Worker(stretch.program, exchange=exchange, link=clock).train()
    except InterruptedTraining:
        return Report(executed=clock.started, ended=False)
    return Report(executed=clock.started, ended=True)
