"""Durations as `kubectl get -o wide` shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from seedbed_api.timestamps import lasted

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0s"),
        (-5, "0s"),
        (59, "59s"),
        (60, "1m00s"),
        (3599, "59m59s"),
        (3720, "1h02m"),
        (183_600, "2d03h"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(seconds: int, shown: str) -> None:
    assert lasted(NOON, NOON + timedelta(seconds=seconds)) == shown
