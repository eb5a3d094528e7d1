"""Data of a run's report as frozen values: filled by the driver, rendered by `build_report`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationPoint:
    """One evaluation record."""

    step: int
    """Completed steps at the evaluation."""
    split: str
    """validation or test."""
    loss: float
    scores: Mapping[str, float]
    """The other metrics of the task, such as accuracy."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplePrediction:
    """One picture and the prediction of the model."""

    pixels_hwc: npt.NDArray[np.uint8]
    true_class: str
    """Of several labels or numbers: all of them in words."""
    predicted_class: str
    confidence: float | None
    """Softmax of the predicted class, 0 to 1; None for several labels or numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSpent:
    """Wall-clock seconds of all attempts of a run by activity."""

    start_up: float = 0.0
    """From process start until the workers began to train: imports, opening data, Ray, model check."""
    data: float = 0.0
    """Waiting for micro-batches."""
    compute: float = 0.0
    """Forward, backward and optimizer step."""
    exchange: float = 0.0
    """Adding gradients between workers, waiting for the slowest included."""
    evaluation: float = 0.0
    checkpoint: float = 0.0
    other: float = 0.0
    """The rest of the wall-clock time: between worker groups, after the last step, and not reported."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRow:
    """An attempt, or one worker group of it."""

    number: int
    workers: int
    from_step: int | None = None
    """None for an attempt of which only the claim is stored."""
    to_step: int | None = None
    seconds: float | None = None
    outcome: str = ""
    """How it ended, if known: Trained, Stopped, Failed: OutOfMemory, Killed or lost …"""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportInputs:
    """Everything in a report. Only job, state and run_id are required; sections without data are left out."""

    job: str
    state: str
    """Reason of the last condition: Trained, AlreadyComputed, Suspended, NonFiniteLoss …"""
    run_id: str
    message: str = ""
    """One sentence about a state other than success."""
    succeeded: bool = True
    created: str = ""
    """Time of creation as text; the report does not read the clock."""
    model: str = ""
    """Name or entrypoint."""
    metrics: Mapping[str, str] = field(default_factory=dict)
    """Main figures: label -> displayed value, in order; about six."""
    train_losses: Sequence[tuple[int, float]] = ()
    """(step, loss) of every step or of a sample of them."""
    learning_rates: Sequence[tuple[int, float]] = ()
    evaluations: Sequence[EvaluationPoint] = ()
    classes: Sequence[str] = ()
    confusion_kk: npt.NDArray[np.int64] | None = None
    """Rows are true classes, columns predicted ones."""
    confusion_split: str = "test"
    output_scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Where there is no confusion matrix: figures of each label or number, by name."""
    samples: Sequence[SamplePrediction] = ()
    dataset_uri: str = ""
    dataset_digest: str = ""
    rows_per_split: Mapping[str, int] = field(default_factory=dict)
    recipe_yaml: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    environment_name: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Label -> digest: environment class, weights, receipt, ledger chain, dataset …"""
    verify_command: str = ""
    time_spent: TimeSpent | None = None
    attempts: Sequence[AttemptRow] = ()
