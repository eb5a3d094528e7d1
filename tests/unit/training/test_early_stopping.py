"""Early stopping: tables of evaluation histories, and the properties that make the decision safe to repeat."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed.training.early_stopping import EarlyStopping, Score, best_score, should_stop

RULE = EarlyStopping(metric="validation/accuracy", maximize=True, patience=2, min_delta=Fraction(0))


def history(*values: int) -> list[Score]:
    return [Score(completed=10 * (i + 1), value=Fraction(value)) for i, value in enumerate(values)]


@pytest.mark.parametrize(
    ("values", "stops"),
    [
        pytest.param([1], False, id="one evaluation decides nothing"),
        pytest.param([1, 1], False, id="one stale evaluation is within patience"),
        pytest.param([1, 1, 1], True, id="equal is not better"),
        pytest.param([1, 0, 2, 1], False, id="an improvement restarts patience"),
        pytest.param([3, 2, 1], True, id="decline"),
        pytest.param([1, 2, 3, 4], False, id="steady gain"),
    ],
)
def test_patience(values: list[int], stops: bool) -> None:
    assert should_stop(RULE, history(*values)) is stops


def test_a_gain_below_the_margin_is_no_gain() -> None:
    rule = EarlyStopping(metric="validation/loss", maximize=False, patience=1, min_delta=Fraction(1, 2))
    assert should_stop(
        rule, [Score(completed=1, value=Fraction(3)), Score(completed=2, value=Fraction(5, 2))]
    )
    assert not should_stop(
        rule, [Score(completed=1, value=Fraction(3)), Score(completed=2, value=Fraction(2))]
    )


def test_without_a_rule_nothing_stops() -> None:
    assert not should_stop(None, history(3, 2, 1, 0))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_the_earliest_of_equals_is_best(values: list[int]) -> None:
    best = best_score(history(*values), maximize=True)
    assert best.completed == 10 * (values.index(max(values)) + 1)


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=12))
def test_minimising_is_maximising_the_negative(values: list[int]) -> None:
    down = best_score(history(*values), maximize=False)
    up = best_score(history(*[-value for value in values]), maximize=True)
    assert down.completed == up.completed
