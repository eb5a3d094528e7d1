"""Diagnosis of a job that does not run: reason and message; one module per family of causes."""

from __future__ import annotations

from dataclasses import dataclass

from seedbed_api.pod_contract.labels import VERIFY_ANNOTATION

NEXT_ATTEMPT = "to use a changed profile, suspend and resume the job"
"""Existing pods do not change with the profile."""
NEXT_VERIFICATION = f"to use a changed profile, give the annotation {VERIFY_ANNOTATION} another value"


@dataclass(frozen=True, kw_only=True, slots=True)
class Diagnosis:
    """Reason and message of the Running condition."""

    reason: str
    message: str
