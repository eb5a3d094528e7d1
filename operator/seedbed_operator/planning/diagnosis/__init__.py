"""Diagnosis of a job that does not run: reason and message; one module per family of causes."""

from __future__ import annotations

from dataclasses import dataclass

NEXT_ATTEMPT = "to use a changed profile, suspend and resume the job"
"""Existing pods do not change with the profile."""
NEXT_VERIFICATION = "to use a changed profile, give the annotation seedbed.dev/verify another value"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Reason and message of the Running condition."""

    reason: str
    message: str
