"""Fractions: one spelling per value."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.decimal_strings import PATTERN, canonical

SPELLINGS = {
    "0": "0",
    "0.0": "0",
    "0e9": "0",
    "0.10": "0.1",
    "1e-1": "0.1",
    "1E-1": "0.1",
    "1e+2": "100",
    "100": "100",
    "5e-4": "0.0005",
    "1.5e3": "1500",
    "1e-12": "0.000000000001",
    "1e-13": "1e-13",
    "25e-14": "2.5e-13",
    "1e9": "1e9",
    "999999999": "999999999",
    "123456789.123456789012e-9": "123456789.123456789012e-9",
}


@pytest.mark.parametrize(("spelling", "expected"), SPELLINGS.items())
def test_a_spelling_becomes_the_canonical_one(spelling: str, expected: str) -> None:
    assert canonical(spelling) == expected


@pytest.mark.parametrize(
    "wrong", ["", " 1", "1 ", "1\n", "+1", "-1", ".5", "1.", "01", "1e", "1e100", "nan", "٣", "1_0"]
)
def test_what_does_not_match_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="not a fraction"):
        canonical(wrong)


@pytest.mark.parametrize("extreme", ["0.001e-99", "10e99"])
def test_what_has_no_canonical_spelling_is_refused(extreme: str) -> None:
    with pytest.raises(ValueError, match="out of range"):
        canonical(extreme)


@settings(deadline=None, max_examples=120)
@given(st.from_regex(PATTERN, fullmatch=True).filter(str.isascii))
def test_the_canonical_spelling_keeps_the_value_and_is_a_fixed_point(spelling: str) -> None:
    try:
        once = canonical(spelling)
    except ValueError:
        assert abs(Decimal(spelling).adjusted()) > 90
        return
    assert Decimal(once) == Decimal(spelling)
    assert canonical(once) == once
    assert re.fullmatch(PATTERN, once)
