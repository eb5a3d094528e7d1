"""Format of times and durations in a status: UTC, to the second."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def format_time(moment: datetime) -> str:
    """Return a time in the format of a status."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(time: str | None) -> datetime | None:
    """Return the time of a status field; None if it is not set."""
    return datetime.fromisoformat(time) if time is not None else None


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
