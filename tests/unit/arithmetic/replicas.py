"""A small replica and its rows."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from seedbed.arithmetic.arithmetic_config import (
    Arithmetic,
)
from seedbed.arithmetic.learning_rate import LearningRate
from seedbed.arithmetic.model_replica import Replica
from seedbed.models.model_registry import build_model

CLASSES = 3


@dataclass(frozen=True, kw_only=True)
class Rows:
    leaf: int
    labels_m: npt.NDArray[np.int64]
    pixels_mhwc: npt.NDArray[np.uint8]


def rows(leaf: int, count: int = 2) -> Rows:
    draw = np.random.Generator(np.random.Philox(key=leaf))
    pixels = draw.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
    return Rows(leaf=leaf, labels_m=draw.integers(0, CLASSES, count), pixels_mhwc=pixels)


def an_arithmetic(**changes: Any) -> Arithmetic:
    plain = Arithmetic(leaves=2, leaf_rows=2, classes=CLASSES, seed=5, learning_rate=LearningRate(base=0.1))
    return dataclasses.replace(plain, **changes)


def a_replica(model: nn.Module | None = None, **changes: Any) -> Replica:
    model = model or build_model("simple-cnn", {"width": "4", "dropout": "0.5"}, CLASSES, seed=1)
    return Replica(an_arithmetic(**changes), model)
