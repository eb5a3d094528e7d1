"""How long to wait before the next attempt: as a Job of Kubernetes does, 10 s doubling to 6 minutes.

The jitter is a function of the job and the attempt, so that jobs that fail together come back apart.
"""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256

from seedbed_api.exponential_backoff import ExponentialBackoff

BACKOFF = ExponentialBackoff(first=10, longest=360)
BACKOFF_AFTER_PREEMPTION = ExponentialBackoff(first=5, longest=60)
_JITTER = 0.25


def backoff(uid: str, attempt: int, *, in_a_row: int) -> timedelta:
    """Return the delay after the given number of attempts in a row that made no new checkpoint."""
    return timedelta(seconds=BACKOFF.delay(in_a_row)) * _jitter(uid, attempt)


def backoff_after_preemption(uid: str, attempt: int, *, in_a_row: int) -> timedelta:
    """Return the delay after a preemption: short, since the attempt did nothing wrong."""
    return timedelta(seconds=BACKOFF_AFTER_PREEMPTION.delay(in_a_row)) * _jitter(uid, attempt)


def _jitter(uid: str, attempt: int) -> float:
    digest = sha256(f"{uid}/{attempt}".encode()).digest()
    return 1 + _JITTER * int.from_bytes(digest[:4], "big") / 2**32
