"""A run that counts its steps, and its outcome."""

from __future__ import annotations

from seedbed.driver.resolve_run import ResolvedRun
from seedbed.runs.training_result import TrainingResult, read_training_result
from seedbed.training.run_progress import RunProgress
from support.runs.no_driver import NoDriver


class Counting(NoDriver):
    """Counts the steps that were begun, and where they began."""

    def __init__(self) -> None:
        self.steps = 0
        self.resumed_from = 0

    def stop_requested(self) -> bool:
        self.steps += 1
        return False

    def send_progress(self, progress: RunProgress) -> None:
        self.resumed_from = progress.resumed_from


def outcome_of(run: ResolvedRun) -> TrainingResult:
    outcome = read_training_result(run.folder)
    assert outcome is not None
    return outcome
