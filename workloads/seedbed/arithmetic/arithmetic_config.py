"""Configuration of the arithmetic: every value that the bits of a step depend on. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from seedbed.arithmetic.learning_rate import LearningRate

ARITHMETIC_VERSION = 1
"""Part of the run identity: raised by every change of this package that changes a bit."""

Precision: TypeAlias = Literal["Float32", "BFloat16"]
PRECISIONS: tuple[str, ...] = ("Float32", "BFloat16")


@dataclass(frozen=True, kw_only=True, slots=True)
class CrossEntropy:
    """Cross-entropy, summed over the rows of a leaf and divided by m: linear, so leaves add up."""

    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes, 0 <= x < 1."""
    class_weights: tuple[float, ...] | None = None
    """One factor per class, in class order; None for ones."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BinaryCrossEntropy:
    """Binary cross-entropy of every label by itself, the mean over labels."""

    positive_weights: tuple[float, ...] | None = None
    """One factor per label, of the rows that have it; None for ones."""
    label_smoothing: float = 0.0
    """Share of each target that is replaced by one half, 0 <= x < 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Focal:
    """(1 - p)^gamma times the cross-entropy, of one label or of every label by itself."""

    gamma: float = 2.0


@dataclass(frozen=True, kw_only=True, slots=True)
class MeanSquaredError:
    """The square of the error, the mean over numbers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Huber:
    """Half the square of an error up to `delta`, then linear; the mean over numbers."""

    delta: float = 1.0


LossConfig: TypeAlias = CrossEntropy | BinaryCrossEntropy | Focal | MeanSquaredError | Huber


@dataclass(frozen=True, kw_only=True, slots=True)
class SGD:
    """Stochastic gradient descent as in torch.optim.SGD, dampening 0."""

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        if self.nesterov and self.momentum <= 0.0:
            raise ValueError("nesterov needs momentum > 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class AdamW:
    """AdamW as in torch.optim.AdamW, without amsgrad."""

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.01


OptimizerConfig: TypeAlias = SGD | AdamW


@dataclass(frozen=True, kw_only=True, slots=True)
class ParameterGroup:
    """Parameters with a learning rate or weight decay of their own."""

    match: str
    """Pattern of parameter names, `fnmatch`."""
    learning_rate_factor: float = 1.0
    weight_decay: float | None = None
    """Weight decay instead of the optimizer's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class MovingAverage:
    """Exponential moving average of the trained parameters: evaluated and exported in their place."""

    decay: float
    """Share of the average that stays at each step, 0 <= x < 1."""
    start_step: int = 0
    """Steps in which the average is the parameters themselves."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.decay < 1.0 or self.start_step < 0:
            raise ValueError(f"decay must be in 0 <= x < 1 and start_step >= 0, got {self}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Normalisation:
    """Per-channel mean and standard deviation of pixels scaled to 0…1; x = (pixel / 255 - mean) / std."""

    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)

    def __post_init__(self) -> None:
        if min(self.std) <= 0.0:
            raise ValueError(f"standard deviations must be positive, got {self.std}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arithmetic:
    """Everything that decides the bits of a step besides model, pixels and environment class."""

    leaves: int
    """L, the leaves of a global batch, for any number of workers."""
    leaf_rows: int
    """m, the rows of each leaf."""
    classes: int
    """k, the outputs of the model."""
    seed: int
    """Keys the random numbers of every (step, leaf)."""
    learning_rate: LearningRate
    precision: Precision = "Float32"
    """BFloat16 is autocast inside the leaf; gradients, tree and master weights are float32 in any case."""
    task: str = "single-label"
    """What rows are labelled with; one of `dataset.targets.TASKS`."""
    loss: LossConfig = field(default_factory=CrossEntropy)
    optimizer: OptimizerConfig = field(default_factory=SGD)
    groups: tuple[ParameterGroup, ...] = ()
    """The first group that matches a parameter holds; others have the optimizer's settings."""
    frozen: tuple[str, ...] = ()
    """Patterns of the parameters that keep their values."""
    normalisation: Normalisation = field(default_factory=Normalisation)
    mixup_alpha: float = 0.0
    """Beta(alpha, alpha) of mixup inside a leaf; 0 turns it off."""
    gradient_clip_norm: float | None = None
    """Largest L2 norm of the whole gradient; None turns clipping off."""
    top_k: int | None = None
    """Evaluations also count the rows whose class is among so many best; None: they do not."""
    average: MovingAverage | None = None
    """None evaluates and exports the parameters themselves."""

    def __post_init__(self) -> None:
        _check_counts(self)
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision {self.precision!r} is not one of {', '.join(PRECISIONS)}")
        weights = _weights_of(self.loss)
        if weights is not None and len(weights) != self.classes:
            raise ValueError(f"{len(weights)} class weights for {self.classes} classes")
        if not math.isfinite(self.mixup_alpha) or self.mixup_alpha < 0.0:
            raise ValueError(f"mixup alpha must be finite and >= 0, got {self.mixup_alpha}")
        if self.gradient_clip_norm is not None and self.gradient_clip_norm <= 0.0:
            raise ValueError(f"gradient clip norm must be > 0, got {self.gradient_clip_norm}")


def _check_counts(arithmetic: Arithmetic) -> None:
    for name in ("leaves", "leaf_rows", "classes"):
        if getattr(arithmetic, name) < 1:
            raise ValueError(f"{name} must be at least 1, got {getattr(arithmetic, name)}")


def _weights_of(loss: LossConfig) -> tuple[float, ...] | None:
    match loss:
        case CrossEntropy():
            return loss.class_weights
        case BinaryCrossEntropy():
            return loss.positive_weights
    return None
