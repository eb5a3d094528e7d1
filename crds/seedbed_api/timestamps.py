"""Format of times and durations in a status: UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Times outside of this range are read as none: a deadline could not be added to them."""
LONGEST_TIME: Final = 40


def format_time(moment: datetime) -> str:
    """Return a time in the format of a status."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(time: Any) -> datetime | None:
    """Return the time of a field; None if it is not set, or is no RFC 3339 time from 1970 to 8999.

    Times of objects and drivers are written by strangers: an odd one must not raise.
    """
    if not isinstance(time, str) or len(time) > LONGEST_TIME:
        return None
    try:
        moment = datetime.fromisoformat(time)
        return moment if EARLIEST <= moment < LATEST else None
    except (ValueError, OverflowError, TypeError):  # the last: a time without a zone
        return None


def rounded_up(moment: datetime) -> datetime:
    """Return the time rounded up to a second, so that the formatted time is never too early."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)


def lasted(start: datetime, end: datetime) -> str:
    """Return the time between two moments in its two largest units: 45s, 3m12s, 1h02m, 2d03h."""
    minutes, seconds = divmod(max(round((end - start).total_seconds()), 0), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{seconds:02}s" if minutes else f"{seconds}s"
