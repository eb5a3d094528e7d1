"""The delays of exponential back-off: doubling, bounded, and defined for any count."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=10, longest=360)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 10), (1, 10), (2, 20), (3, 40), (6, 320), (7, 360), (8, 360), (10**9, 360)],
)
def test_a_delay_doubles_up_to_the_longest(failures: int, seconds: float) -> None:
    assert BACKOFF.delay(failures) == seconds


@given(first=st.floats(0.0001, 60), longest=st.floats(60, 3600), failures=st.integers(1, 10_000))
def test_no_delay_is_shorter_than_the_one_before_it(first: float, longest: float, failures: int) -> None:
    backoff = ExponentialBackoff(first=first, longest=longest)

    assert first <= backoff.delay(failures) <= backoff.delay(failures + 1) <= longest


def test_delays_are_those_of_the_first_failure_the_second_and_so_on() -> None:
    assert list(itertools.islice(BACKOFF.delays(), 7)) == [10, 20, 40, 80, 160, 320, 360]
