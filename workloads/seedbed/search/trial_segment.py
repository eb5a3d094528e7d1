"""A segment of a trial, the unit of work of a sweep, and the state of its run after it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from seedbed.search.learning_curve import LearningCurve
from seedbed_api.trainingjob_status import ModelStatus

RunKey = tuple[int, int]
"""Trial, and index of the run among its folds."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialSegment:
    """Part of a run: from its newest checkpoint up to a rung or to its end."""

    trial: int
    run_index: int
    """Index among the trial's runs, from 0: that of the fold."""
    fold: int | None
    """None without cross-validation."""
    values: Mapping[str, str]
    """Values of the parameters by name."""
    until_epoch: int | None
    """Epoch after which the run pauses; None: to its end."""

    @property
    def key(self) -> RunKey:
        """Return trial and run index, which identify the run within the sweep."""
        return self.trial, self.run_index


@dataclass(frozen=True, kw_only=True, slots=True)
class SegmentResult:
    """State of a run after a segment."""

    curve: LearningCurve
    run_id: str | None = None
    """None where the values make no valid recipe."""
    model: ModelStatus | None = None
    """The trained model; None until the run has ended."""
    steps: int = 0
    """Steps that this segment computed."""
    seconds: float = 0.0
    """Seconds of these steps, without start-up."""
    problem: str = ""
    """Why it failed, in one line for people; not part of the sweep record."""
