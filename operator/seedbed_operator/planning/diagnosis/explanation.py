"""The answer to "why is my job not running?": one word, and one sentence that says what to change."""

from __future__ import annotations

from dataclasses import dataclass

NEXT_ATTEMPT = "a changed profile counts once the job has been suspended and resumed"
"""Pods that are there keep what they were created with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A reason of the Running condition and its message."""

    reason: str
    message: str
