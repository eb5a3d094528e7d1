"""The answer to "why is my job not running?": one word, and one sentence that says what to change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """A reason of the Running condition and its message."""

    reason: str
    message: str
