"""Learning rates as pure functions."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.arithmetic.learning_rate import Constant, Cosine, LearningRate, Step, learning_rate

WARM_COSINE = LearningRate(base=1.0, warmup_steps=4, decay=Cosine(minimum=0.1))


@pytest.mark.parametrize(
    ("schedule", "step", "total", "expected"),
    [
        (LearningRate(base=0.1), 0, 10, 0.1),
        (LearningRate(base=0.1), 9, 10, 0.1),
        (LearningRate(base=0.1, warmup_steps=4), 0, 10, 0.025),
        (LearningRate(base=0.1, warmup_steps=4), 3, 10, 0.1),
        (WARM_COSINE, 3, 15, 1.0),
        (WARM_COSINE, 4, 15, 1.0),
        (WARM_COSINE, 9, 15, 0.55),
        (WARM_COSINE, 14, 15, 0.1),
        (LearningRate(base=1.0, decay=Step(every_steps=3, factor=0.5)), 2, 10, 1.0),
        (LearningRate(base=1.0, decay=Step(every_steps=3, factor=0.5)), 3, 10, 0.5),
        (LearningRate(base=1.0, warmup_steps=2, decay=Step(every_steps=3, factor=0.5)), 8, 10, 0.25),
        (LearningRate(base=1.0, warmup_steps=20, decay=Cosine()), 9, 10, 0.5),
        (LearningRate(base=1.0, decay=Cosine()), 0, 1, 1.0),
    ],
)
def test_rates(schedule: LearningRate, step: int, total: int, expected: float) -> None:
    assert learning_rate(schedule, step, total) == pytest.approx(expected, rel=1e-15)


@given(step=st.integers(0, 500), total=st.integers(1, 500), warmup=st.integers(0, 50))
@settings(max_examples=100, deadline=None)
def test_a_rate_is_finite_and_between_zero_and_base(step: int, total: int, warmup: int) -> None:
    for decay in (Constant(), Cosine(), Step(every_steps=7, factor=0.3)):
        rate = learning_rate(LearningRate(base=0.3, warmup_steps=warmup, decay=decay), step, total)
        assert math.isfinite(rate)
        assert 0.0 <= rate <= 0.3


@pytest.mark.parametrize("decay", [Constant(), Step(every_steps=5, factor=0.1)])
def test_constant_and_step_rates_are_a_prefix_of_those_of_a_longer_run(decay: Constant | Step) -> None:
    schedule = LearningRate(base=0.1, warmup_steps=3, decay=decay)
    assert [learning_rate(schedule, s, 10) for s in range(10)] == [
        learning_rate(schedule, s, 20) for s in range(10)
    ]


def test_a_cosine_is_no_prefix_of_a_longer_one() -> None:
    schedule = LearningRate(base=0.1, decay=Cosine())
    assert learning_rate(schedule, 5, 10) != learning_rate(schedule, 5, 20)
