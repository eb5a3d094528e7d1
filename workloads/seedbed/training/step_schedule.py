"""The schedule of evaluations and checkpoints by step. Pure: sizes in, steps out.

A milestone is a number of completed steps: milestone s is between the 0-based steps s-1 and s.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class EveryEpochs:
    """Evaluate each time so many epochs have been consumed; an epoch may end within a batch."""

    epochs: int
    samples: int
    """N, the train rows of one epoch."""
    global_rows: int
    """L·m, the rows of one step."""

    def count(self, completed: int) -> int:
        """Return how many periods have ended after `completed` steps."""
        return completed * self.global_rows // (self.epochs * self.samples)


@dataclass(frozen=True, kw_only=True, slots=True)
class EverySteps:
    """Evaluate at a fixed distance of steps."""

    steps: int

    def count(self, completed: int) -> int:
        """Return how many periods have ended after `completed` steps."""
        return completed // self.steps


@dataclass(frozen=True, kw_only=True, slots=True)
class RemainingWork:
    """The steps, evaluations and checkpoints that a run has left."""

    steps: int
    evaluations: int
    checkpoints: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepSchedule:
    """When a run evaluates and when it writes checkpoints."""

    total_steps: int
    """Steps of the whole run."""
    evaluation: EveryEpochs | EverySteps | None
    """When the recipe evaluates before the end."""
    checkpoint_every_steps: int
    """Steps between checkpoints; execution, never part of the identity."""
    checkpoint_at_evaluations: bool
    """Whether every evaluation needs a checkpoint, because its weights may become the best model."""

    def is_evaluation(self, completed: int) -> bool:
        """Say whether the run evaluates after `completed` steps: at the end, and where a period is full."""
        if completed == self.total_steps:
            return True
        if self.evaluation is None:
            return False
        return self.evaluation.count(completed) > self.evaluation.count(completed - 1)

    def is_checkpoint(self, completed: int) -> bool:
        """Say whether a checkpoint is written after `completed` steps."""
        if completed == self.total_steps or completed % self.checkpoint_every_steps == 0:
            return True
        return self.checkpoint_at_evaluations and self.is_evaluation(completed)

    def evaluations_until(self, completed: int) -> list[int]:
        """Return the evaluation milestones in (0, completed], ascending."""
        return [step for step in range(1, completed + 1) if self.is_evaluation(step)]

    def remaining(self, completed: int, *, evaluated: bool, saved: bool) -> RemainingWork:
        """Return the work after `completed` steps, with what is not done yet of the present milestone."""
        return RemainingWork(
            steps=self.total_steps - completed,
            evaluations=self._evaluations_after(completed - (not evaluated)),
            checkpoints=self._checkpoints_after(completed - (not saved)),
        )

    def _evaluations_after(self, completed: int) -> int:
        """Return the evaluations after `completed` steps; the end always has one."""
        begun, end = max(completed, 0), self.total_steps
        if begun >= end:
            return 0
        if self.evaluation is None:
            return 1
        count = self.evaluation.count
        return min(count(end - 1) - count(begun) + 1, end - begun)

    def _checkpoints_after(self, completed: int) -> int:
        """Return the checkpoints after `completed` steps; those at evaluations may be counted twice."""
        begun, end = max(completed, 0), self.total_steps
        if begun >= end:
            return 0
        periodic = (end - 1) // self.checkpoint_every_steps - begun // self.checkpoint_every_steps
        chosen = self._evaluations_after(begun) - 1 if self.checkpoint_at_evaluations else 0
        return min(periodic + chosen + 1, end - begun)
