"""How far the operator's clock is from the API server's: told to people, and the ground of no decision."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LOG_FROM: Final = timedelta(seconds=5)
LOG_EVERY: Final = timedelta(minutes=10)
NO_SKEW: Final = timedelta(0)
_WHOLE_SECOND: Final = timedelta(seconds=1)
"""The Date of an answer is cut to it."""

log = logging.getLogger(__name__)


class ClockSkew:
    """What the Date headers of answers tell."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        """How far our clock is ahead, as far as the newest answer proves it; None before the first."""
        self._told: datetime | None = None

    def observe(self, date: str | None, *, sent: datetime, received: datetime) -> None:
        """Take the Date of an answer and our own times of request and answer."""
        theirs = _moment(date)
        if theirs is None or theirs.tzinfo is None:
            return
        skew = minimum_skew(theirs, sent, received)
        self.seconds = skew.total_seconds()
        if abs(skew) >= LOG_FROM and (self._told is None or abs(received - self._told) >= LOG_EVERY):
            self._told = received
            where = "ahead of" if skew > NO_SKEW else "behind"
            log.warning(
                "the clock of this machine is %.0f s %s the API server's: times in statuses are off by as "
                "much; synchronise the two",
                abs(self.seconds),
                where,
            )


def minimum_skew(theirs: datetime, sent: datetime, received: datetime) -> timedelta:
    """Return how far we are at least ahead (negative: behind) of a clock, read between two moments."""
    ahead, behind = sent - theirs - _WHOLE_SECOND, received - theirs
    return max(ahead, NO_SKEW) if behind >= NO_SKEW else behind


def _moment(date: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
