"""Moments of a status, read back and rounded, and durations."""

from __future__ import annotations

from datetime import datetime, timedelta


def read(time: str | None) -> datetime | None:
    """Return the moment of a status field."""
    return datetime.fromisoformat(time) if time is not None else None


def rounded_up(moment: datetime) -> datetime:
    """Return the next whole second, so that what is written is never too early."""
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)


def seconds(count: float) -> timedelta:
    """Return a duration."""
    return timedelta(seconds=count)
