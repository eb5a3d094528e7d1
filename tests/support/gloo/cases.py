"""The cases of the matrix and their data: every picture and label is a function of (case seed, step, leaf)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from seedbed.arithmetic.arithmetic_config import SGD, AdamW, Arithmetic, OptimizerConfig, Precision
from seedbed.arithmetic.learning_rate import Cosine, LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.models.model_registry import build_model

CLASSES = 5
PIXELS = 8


@dataclass(frozen=True, kw_only=True)
class Case:
    """One training run of the matrix, without a worker count."""

    model: str = "simple-cnn"
    args: tuple[tuple[str, str], ...] = (("width", "4"), ("dropout", "0.3"))
    leaves: int = 4
    leaf_rows: int = 3
    optimizer: OptimizerConfig = field(
        default_factory=lambda: SGD(momentum=0.9, nesterov=True, weight_decay=1e-3)
    )
    precision: Precision = "Float32"
    mixup_alpha: float = 0.0
    clip: float | None = None
    steps: int = 3
    device: str = "cpu"

    @property
    def arithmetic(self) -> Arithmetic:
        return Arithmetic(
            leaves=self.leaves,
            leaf_rows=self.leaf_rows,
            classes=CLASSES,
            seed=11,
            learning_rate=LearningRate(base=0.05, warmup_steps=1, decay=Cosine(minimum=0.001)),
            precision=self.precision,
            optimizer=self.optimizer,
            mixup_alpha=self.mixup_alpha,
            gradient_clip_norm=self.clip,
        )

    def replica(self) -> Replica:
        """A fresh replica, the same on every worker."""
        return Replica(
            self.arithmetic, build_model(self.model, dict(self.args), CLASSES, seed=3), self.device
        )

    def __str__(self) -> str:
        kind = type(self.optimizer).__name__
        return f"{self.model} L={self.leaves} m={self.leaf_rows} {kind} {self.precision}"


@dataclass(frozen=True, kw_only=True)
class Rows:
    """One micro-batch."""

    leaf: int
    labels_m: npt.NDArray[np.int64]
    pixels_mhwc: npt.NDArray[np.uint8]


def rows_of(case: Case, step: int, leaf: int, *, pixels: int = PIXELS) -> Rows:
    """The rows of a leaf, drawn by (step, leaf)."""
    draw = np.random.Generator(np.random.Philox(key=np.array([step, leaf], dtype=np.uint64)))
    shape = (case.leaf_rows, pixels, pixels, 3)
    return Rows(
        leaf=leaf,
        labels_m=draw.integers(0, CLASSES, case.leaf_rows),
        pixels_mhwc=draw.integers(0, 256, shape, dtype=np.uint8),
    )


RESNET = (("stem", "small"), ("width", "8"))
SIMPLE_CNN = (("width", "4"), ("dropout", "0.3"))
RECIPES: tuple[tuple[OptimizerConfig, Precision], ...] = (
    (SGD(momentum=0.9, nesterov=True, weight_decay=1e-3), "Float32"),
    (AdamW(), "Float32"),
    (SGD(momentum=0.9), "BFloat16"),
)


def matrix(device: str = "cpu") -> list[Case]:
    """All combinations of L, m, model and recipe."""
    return [
        Case(
            model=model,
            args=args,
            leaves=leaves,
            leaf_rows=leaf_rows,
            optimizer=optimizer,
            precision=precision,
            device=device,
        )
        for leaves in (4, 8, 16)
        for leaf_rows in (3, 4)
        for model, args in (("simple-cnn", SIMPLE_CNN), ("resnet18", RESNET))
        for optimizer, precision in RECIPES
    ]
