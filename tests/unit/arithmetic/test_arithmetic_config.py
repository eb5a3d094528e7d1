"""What an Arithmetic refuses, and that identities need no torch."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from seedbed.arithmetic.arithmetic_config import SGD, Arithmetic, CrossEntropy, Normalisation
from seedbed.arithmetic.learning_rate import LearningRate, Step

SOUND: dict[str, Any] = {
    "leaves": 4,
    "leaf_rows": 2,
    "classes": 3,
    "seed": 0,
    "learning_rate": LearningRate(base=0.1),
}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"leaves": 0}, "leaves must be at least 1"),
        ({"leaf_rows": 0}, "leaf_rows must be at least 1"),
        ({"classes": 0}, "classes must be at least 1"),
        ({"precision": "Float16"}, "'Float16' is not one of Float32, BFloat16"),
        ({"loss": CrossEntropy(class_weights=(1.0, 2.0))}, "2 class weights for 3 classes"),
        ({"mixup_alpha": -1.0}, "mixup alpha"),
        ({"mixup_alpha": float("nan")}, "mixup alpha"),
        ({"gradient_clip_norm": 0.0}, "gradient clip norm"),
    ],
)
def test_refuses(change: dict[str, Any], complaint: str) -> None:
    Arithmetic(**SOUND)
    with pytest.raises(ValueError, match=complaint):
        Arithmetic(**SOUND | change)


def test_refuses_parts_that_make_no_sense() -> None:
    with pytest.raises(ValueError, match="nesterov needs momentum"):
        SGD(nesterov=True)
    with pytest.raises(ValueError, match="standard deviations"):
        Normalisation(std=(0.5, 0.0, 0.5))
    with pytest.raises(ValueError, match="every_steps"):
        Step(every_steps=0, factor=0.5)


def test_config_and_schedules_import_no_torch() -> None:
    code = "import sys, seedbed.arithmetic.arithmetic_config; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, check=True)
