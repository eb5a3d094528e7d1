"""Why a job does not run: one module per family of causes, asked in the order in which they come about."""

from __future__ import annotations

from dataclasses import dataclass

NEXT_ATTEMPT = "a changed profile counts once the job has been suspended and resumed"
"""Pods that are there keep what they were created with."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """A reason of the Running condition and its message."""

    reason: str
    message: str
