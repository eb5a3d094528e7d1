"""Moments as a status writes them, to the second, and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


def written(moment: datetime) -> str:
    """Return a moment as a status writes it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
