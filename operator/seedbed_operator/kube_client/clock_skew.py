"""Clock difference between operator and API server, for logs and metrics; no decision uses it."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

LOG_FROM: Final = timedelta(seconds=5)
LOG_EVERY: Final = timedelta(minutes=10)
NO_SKEW: Final = timedelta(0)
_WHOLE_SECOND: Final = timedelta(seconds=1)
"""Resolution of the Date header."""

log = logging.getLogger(__name__)


class ClockSkew:
    """Clock difference from the Date headers of responses."""

    def __init__(self) -> None:
        self.seconds: float | None = None
        """Seconds our clock is at least ahead, by the newest response; None before the first."""
        self._logged: datetime | None = None

    def observe(self, date: str | None, *, sent: datetime, received: datetime) -> None:
        """Compare a response's Date with our times of request and response."""
        theirs = _moment(date)
        if theirs is None or theirs.tzinfo is None:
            return
        skew = minimum_skew(theirs, sent, received)
        self.seconds = skew.total_seconds()
        if abs(skew) >= LOG_FROM and (self._logged is None or abs(received - self._logged) >= LOG_EVERY):
            self._logged = received
            where = "ahead of" if skew > NO_SKEW else "behind"
            log.warning(
                "the clock of this node is %.0f s %s the API server's: times in statuses are wrong; "
                "synchronise the clocks (NTP)",
                abs(self.seconds),
                where,
            )


def minimum_skew(theirs: datetime, sent: datetime, received: datetime) -> timedelta:
    """Return the least difference to a clock that was read between two moments; negative: we are behind."""
    ahead, behind = sent - theirs - _WHOLE_SECOND, received - theirs
    return max(ahead, NO_SKEW) if behind >= NO_SKEW else behind


def _moment(date: str | None) -> datetime | None:
    try:
        return parsedate_to_datetime(date) if date else None
    except ValueError:
        return None
