"""The connection from a worker to its driver: progress and errors out, stop requests in.

A lost message does no harm.
"""

from __future__ import annotations

from typing import Protocol

from seedbed.training.checkpointer import Checkpointer
from seedbed.training.evaluator import Evaluator
from seedbed.training.run_progress import Phase, RunProgress
from seedbed.training.run_state import RunContext, RunState
from seedbed.training.step_schedule import RemainingWork
from seedbed_api.errors import SeedbedError


class DriverLink(Protocol):
    """What a worker needs of its driver."""

    def send_progress(self, progress: RunProgress) -> None:
        """Send the newest progress without waiting."""

    def stop_requested(self) -> bool:
        """Say whether the driver requests a stop; called once per step, so it must be cheap."""

    def report_fatal(self, error: SeedbedError) -> None:
        """Report an error that no restart can fix; return when the driver has it."""

    def report_retryable(self, error: SeedbedError) -> None:
        """Report an error that a restart may fix; the reason of the failure once restarts run out."""

    def fatal_error(self) -> SeedbedError | None:
        """Return the first fatal error that a worker reported, if any."""


class ProgressReporter:
    """Sends the progress of the run to the driver; ranks other than 0 send nothing."""

    def __init__(
        self,
        context: RunContext,
        state: RunState,
        evaluator: Evaluator,
        checkpointer: Checkpointer,
        link: DriverLink,
    ) -> None:
        self._context, self._state = context, state
        self._evaluator, self._checkpointer = evaluator, checkpointer
        self._link = link

    def report(self, phase: Phase) -> None:
        """Send the present progress; cheap enough for every step."""
        if self._context.writes:
            self._link.send_progress(self._progress(phase))

    def _progress(self, phase: Phase) -> RunProgress:
        config, state, stopwatch = self._context.config, self._state, self._context.stopwatch
        rows = config.arithmetic.leaves * config.arithmetic.leaf_rows
        rate = stopwatch.step_rate.steps_per_second
        metrics = self._evaluator.metrics()
        return RunProgress(
            step=state.completed,
            total_steps=config.schedule.total_steps,
            epoch=self._epoch(),
            epochs=config.stream.epochs,
            loss=state.last.loss if state.last else None,
            accuracy=metrics.get("accuracy"),
            validation_loss=metrics.get("loss"),
            scores=tuple((name, metrics[name]) for name in metrics if name not in {"accuracy", "loss"}),
            images_per_second=None if rate is None else rate * rows,
            seconds_left=stopwatch.seconds_left(self._remaining()),
            workers=self._context.exchange.world,
            phase=phase,
            attempt=config.attempt,
            resumed_from=self._checkpointer.loaded_step,
            leaves_by_worker=self._checkpointer.leaves_by_worker,
            checkpoint=self._checkpointer.saved,
            seconds=stopwatch.seconds(),
            startup_times=stopwatch.startup_times,
        )

    def _remaining(self) -> RemainingWork:
        evaluated, saved = self._evaluator.is_evaluated(), self._checkpointer.is_saved
        return self._context.config.schedule.remaining(
            self._state.completed, evaluated=evaluated, saved=saved
        )

    def _epoch(self) -> int:
        """Return the epoch in progress, from 1; rows that fill the last step begin no further epoch."""
        stream, samples = self._context.config.stream, self._context.config.samples
        begun = self._state.completed * stream.leaves * stream.leaf_rows // samples + 1
        return begun if stream.epochs is None else min(begun, stream.epochs)
