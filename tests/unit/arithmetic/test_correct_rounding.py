"""Learning rates do not hang on the C library: cosine and power are the floats next to the exact values."""

from __future__ import annotations

import hashlib
import math
import os
import struct
import subprocess
import sys
from decimal import Context, Decimal
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seedbed.arithmetic import learning_rate as schedules
from seedbed.arithmetic.correct_rounding import cosine, power
from seedbed.arithmetic.learning_rate import (
    Constant,
    Cosine,
    LearningRate,
    Step,
    learning_rate,
    learning_rates,
)

ROOT = Path(__file__).parents[3]


def exact_cosine(angle: float) -> Decimal:
    """Return the cosine to some 90 digits, by the plain series in decimal numbers."""
    context = Context(prec=110)
    square, term, total, n = context.multiply(Decimal(angle), Decimal(angle)), Decimal(1), Decimal(1), 0
    while abs(term) > Decimal("1e-100"):
        n += 2
        term = context.divide(context.multiply(context.minus(term), square), Decimal(n * (n - 1)))
        total = context.add(total, term)
    return total


@given(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@example((13, 26))
@example((38, 61))
@example((47, 70))
@example((1, 10**9))
@settings(max_examples=100)
def test_a_cosine_is_the_float_next_to_the_exact_value(share):
    angle = math.pi * share[0] / share[1]
    assert cosine(angle) == float(exact_cosine(angle))


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (0.0, 1.0),
        (5e-324, 1.0),
        (1e-9, 1.0),
        (2.0**-26, 1.0 - 2.0**-53),
        (math.pi / 2, 6.123233995736766e-17),
        (math.pi, -1.0),
        (4.0, -0.6536436208636119),
    ],
)
def test_cosines_at_the_ends(angle, expected):
    assert cosine(angle) == expected


@given(base=st.floats(1e-6, 1.0, exclude_max=True), exponent=st.integers(0, 400))
@example(base=0.1, exponent=22)
@example(base=0.97, exponent=2999)
@example(base=0.5, exponent=1074)
@example(base=0.5, exponent=1075)
@example(base=2.0**-1074, exponent=1)
@settings(max_examples=100)
def test_a_power_is_the_float_next_to_the_exact_value(base, exponent):
    numerator, denominator = base.as_integer_ratio()
    assert power(base, exponent) == numerator**exponent / denominator**exponent


def test_powers_beyond_all_floats():
    assert power(0.5, 10**7) == 0.0
    assert power(1.0, 10**7) == 1.0
    assert power(1.5, 3) == 3.375
    with pytest.raises(OverflowError):
        power(10.0, 400)


SCHEDULES = [
    LearningRate(base=0.1, warmup_steps=20, decay=Cosine()),
    LearningRate(base=3e-4, warmup_steps=5, decay=Cosine(minimum=1e-6)),
    LearningRate(base=0.4, decay=Step(every_steps=3, factor=0.97)),
    LearningRate(base=0.05, warmup_steps=7, decay=Constant()),
]
GOLDEN = "b9162ee1e5fd7249e2f59e7f5acb4dc91a651a7f3e1831b2ff1afd8937e62fc1"
DIGEST = """
import hashlib, struct, sys
sys.path[:0] = sys.argv[1:]
from unit.arithmetic.test_correct_rounding import digest
print(digest())
"""


def digest() -> str:
    """Return a digest over 28,044 learning rates."""
    total = hashlib.sha256()
    for schedule in SCHEDULES:
        for steps in (449, 1562, 5000):
            total.update(struct.pack(f"<{steps}d", *learning_rates(schedule, steps, steps)))
    return total.hexdigest()


@pytest.mark.parametrize(
    "tunables",
    [pytest.param("", id="as they are"), pytest.param("glibc.cpu.hwcaps=-AVX2,-FMA", id="without FMA")],
)
@pytest.mark.slow
def test_learning_rates_have_the_same_bits_whatever_the_c_library_chooses(tunables):
    paths = [str(ROOT / part) for part in ("tests", "workloads", "crds")]
    done = subprocess.run(
        [sys.executable, "-c", DIGEST, *paths],
        env=os.environ | {"GLIBC_TUNABLES": tunables},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == GOLDEN


def test_a_c_library_that_is_wrong_changes_no_learning_rate(monkeypatch):
    monkeypatch.setattr(math, "cos", lambda x: 0.25)
    monkeypatch.setattr(math, "pow", lambda x, y: 0.25)
    monkeypatch.setattr(schedules, "_computed", {})
    assert digest() == GOLDEN


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_rates_that_were_computed_before_are_those_of_each_step(schedule, monkeypatch):
    monkeypatch.setattr(schedules, "_computed", {})
    for steps in (0, 5, 3, 40, 40, 12):
        expected = [learning_rate(schedule, step, 40) for step in range(steps)]
        assert list(learning_rates(schedule, steps, 40)) == expected
    monkeypatch.setattr(schedules, "learning_rate", None)
    assert len(learning_rates(schedule, 40, 40)) == 40
