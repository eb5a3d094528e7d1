"""How long to wait before the next attempt: as a Job of Kubernetes does, 10 s doubling to 6 minutes.

The jitter is a function of the job and the attempt, so that jobs that fail together come back apart.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

FIRST_SECONDS = 10
MOST_SECONDS = 360
FIRST_SECONDS_AFTER_PREEMPTION = 5
MOST_SECONDS_AFTER_PREEMPTION = 60
_JITTER = 0.25


def backoff(uid: str, attempt: int, *, in_a_row: int) -> timedelta:
    """Return the pause after the given number of attempts in a row that made no new checkpoint."""
    return _grown(FIRST_SECONDS, MOST_SECONDS, in_a_row) * _jitter(uid, attempt)


def backoff_after_preemption(uid: str, attempt: int, *, in_a_row: int) -> timedelta:
    """Return the pause after a preemption: short, since the attempt did nothing wrong."""
    return _grown(FIRST_SECONDS_AFTER_PREEMPTION, MOST_SECONDS_AFTER_PREEMPTION, in_a_row) * _jitter(
        uid, attempt
    )


def _grown(first: int, most: int, in_a_row: int) -> timedelta:
    return timedelta(seconds=min(first * 2 ** min(max(in_a_row - 1, 0), 16), most))


def _jitter(uid: str, attempt: int) -> float:
    digest = sha256(f"{uid}/{attempt}".encode()).digest()
    return 1 + _JITTER * int.from_bytes(digest[:4], "big") / 2**32
