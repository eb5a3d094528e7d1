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
    format_objective,
    mean_objective,
    objective_goal,
    objective_of,
    parse_objective,
    standard_deviation,
    to_units,
)
from seedbed_api.errors import UserError
from seedbed_api.sweepjob import Objective

VALUES = st.integers(0, 2**56)


def evaluated(**fields: int) -> dict[str, Any]:
    return {"samples": 3, "correct": 2, "loss": 5, "lossScale": 2**20, "confusion": [], **fields}


def test_metrics_are_read_from_the_counts() -> None:
    assert format_objective(objective_of(evaluated(), "validation/accuracy")) == "0.666666666667"
    assert objective_of(evaluated(), "validation/loss") == round(5 * SCALE / (3 * 2**20))
    assert format_objective(objective_of(evaluated(correct=3), "validation/accuracy")) == "1"


def test_the_largest_loss_fits_in_64_bits() -> None:
    assert objective_of(evaluated(samples=1, loss=2**36), "validation/loss") == 2**16 * SCALE < 2**63


def test_a_dataset_without_validation_rows_is_the_users_mistake() -> None:
    with pytest.raises(UserError) as error:
        objective_of(evaluated(samples=0), "validation/accuracy")
    assert error.value.message == (
        "spec.objective.metric: cannot be computed: no validation row was evaluated (got 'validation/accuracy'); "
        "build the dataset with validation rows, or use crossValidation"
    )


@given(VALUES)
def test_spellings_read_back(value: int) -> None:
    assert parse_objective(format_objective(value)) == value
    assert Fraction(format_objective(value)) == Fraction(value, SCALE)


@pytest.mark.parametrize("text", ["", "x", "1.0", "01", "1e0", "0.1234567890123", "1/2", " 1", "-0"])
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"objective|Fraction"):
        parse_objective(text)


@given(st.lists(VALUES, min_size=1, max_size=20))
def test_mean_and_deviation_are_exact(folds: list[int]) -> None:
    assert abs(mean_objective(folds) - Fraction(sum(folds), len(folds))) <= Fraction(1, 2)
    assert mean_objective(list(reversed(folds))) == mean_objective(folds)
    if len(folds) == 1:
        assert standard_deviation(folds) is None
    else:
        assert standard_deviation(folds) == pytest.approx(stdev(folds), abs=1, rel=1e-9)


def test_halves_go_to_the_even_one() -> None:
    assert [mean_objective(pair) for pair in ((0, 1), (1, 2), (2, 3))] == [0, 2, 2]
    assert to_units(Fraction(1, 2 * SCALE)) == 0


def test_the_target_is_reached_by_its_own_value() -> None:
    up = objective_goal(Objective(metric="validation/accuracy", direction="Maximize", target="0.98"))
    assert [up.is_reached_by(value) for value in (up_to(49, 50) - 1, up_to(49, 50), SCALE)] == [
        False,
        True,
        True,
    ]
    down = objective_goal(Objective(metric="validation/loss", direction="Minimize", target="0.25"))
    assert [down.is_reached_by(value) for value in (SCALE // 4, SCALE // 4 + 1)] == [True, False]
    assert not Goal(maximize=True).is_reached_by(SCALE)


def up_to(part: int, whole: int) -> int:
    return to_units(Fraction(part, whole))
