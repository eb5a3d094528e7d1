"""How far two clocks differ is told where answers prove it, and only then."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from seedbed_operator.kube_client.clock_skew import ClockSkew

NOON = datetime(2030, 1, 2, 12, tzinfo=UTC)


def date(moment: datetime) -> str:
    return format_datetime(moment.replace(microsecond=0), usegmt=True)


@pytest.mark.parametrize(
    ("theirs", "took", "seconds"),
    [
        (0, 0.2, 0),
        (0.9, 0.2, 0),
        (-600, 0.2, 599),
        (600, 0.2, -599.8),
        (-20, 30, 19),
        (20, 30, 0),
        (-2, 5, 1),
    ],
    ids=[
        "alike",
        "alike at the end of a second",
        "ahead",
        "behind",
        "ahead by a slow answer",
        "slow",
        "by a bit",
    ],
)
def test_only_what_an_answer_proves_is_a_skew(theirs: float, took: float, seconds: float) -> None:
    skew = ClockSkew()
    read = NOON + timedelta(seconds=theirs)
    skew.observe(date(read), sent=NOON, received=NOON + timedelta(seconds=took))
    assert skew.seconds == seconds


@pytest.mark.parametrize("header", [None, "", "yesterday", "2030-01-02T12:00:00Z"])
def test_an_answer_without_a_date_tells_nothing(header: str | None) -> None:
    skew = ClockSkew()
    skew.observe(header, sent=NOON, received=NOON)
    assert skew.seconds is None


def test_a_skew_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    skew = ClockSkew()
    with caplog.at_level(logging.WARNING):
        for minute in range(21):
            now = NOON + timedelta(minutes=minute)
            skew.observe(date(now - timedelta(seconds=600)), sent=now, received=now)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "the clock of this node is 599 s ahead of the API server's"
    ] * 3
