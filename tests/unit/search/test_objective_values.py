"""Objectives as integers: exact, rounded once, and spelled as they are compared."""

from __future__ import annotations

from fractions import Fraction
from statistics import stdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.search.objective_values import (
    SCALE,
    Goal,
    deviation,
    goal,
    mean,
    parsed,
    spelled,
    steps,
    value_of,
)
from seedbed_api.errors import UserError
from seedbed_api.sweepjob import Objective

VALUES = st.integers(0, 2**56)


def evaluated(**fields: int) -> dict[str, Any]:
    return {"samples": 3, "correct": 2, "loss": 5, "lossScale": 2**20, "confusion": [], **fields}


def test_metrics_are_read_from_the_counts() -> None:
    assert spelled(value_of(evaluated(), "validation/accuracy")) == "0.666666666667"
    assert value_of(evaluated(), "validation/loss") == round(5 * SCALE / (3 * 2**20))
    assert spelled(value_of(evaluated(correct=3), "validation/accuracy")) == "1"


def test_the_largest_loss_fits_in_64_bits() -> None:
    assert value_of(evaluated(samples=1, loss=2**36), "validation/loss") == 2**16 * SCALE < 2**63


def test_a_dataset_without_validation_rows_is_the_users_mistake() -> None:
    with pytest.raises(UserError) as error:
        value_of(evaluated(samples=0), "validation/accuracy")
    assert error.value.message == (
        "spec.objective.metric: has no rows to count (got 'validation/accuracy'); "
        "build the dataset with validation rows, or use crossValidation"
    )


@given(VALUES)
def test_spellings_read_back(value: int) -> None:
    assert parsed(spelled(value)) == value
    assert Fraction(spelled(value)) == Fraction(value, SCALE)


@pytest.mark.parametrize("text", ["", "x", "1.0", "01", "1e0", "0.1234567890123", "1/2", " 1", "-0"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"objective|Fraction"):
        parsed(text)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_mean_and_deviation_are_exact(folds: list[int]) -> None:
    assert abs(mean(folds) - Fraction(sum(folds), len(folds))) <= Fraction(1, 2)
    assert mean(list(reversed(folds))) == mean(folds)
    if len(folds) == 1:
        assert deviation(folds) is None
    else:
        assert deviation(folds) == pytest.approx(stdev(folds), abs=1, rel=1e-9)


def test_halves_go_to_the_even_one() -> None:
    assert [mean(pair) for pair in ((0, 1), (1, 2), (2, 3))] == [0, 2, 2]
    assert steps(Fraction(1, 2 * SCALE)) == 0


def test_the_target_is_reached_by_its_own_value() -> None:
    up = goal(Objective(metric="validation/accuracy", direction="Maximize", target="0.98"))
    assert [up.reached(value) for value in (up_to(49, 50) - 1, up_to(49, 50), SCALE)] == [False, True, True]
    down = goal(Objective(metric="validation/loss", direction="Minimize", target="0.25"))
    assert [down.reached(value) for value in (SCALE // 4, SCALE // 4 + 1)] == [True, False]
    assert not Goal(maximize=True).reached(SCALE)


def up_to(part: int, whole: int) -> int:
    return steps(Fraction(part, whole))
