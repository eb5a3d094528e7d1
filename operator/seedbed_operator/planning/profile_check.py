"""What a job may name and override: only what its profile allows; checked again before every attempt."""

from __future__ import annotations

from seedbed_api.job_kinds import JobSpec
from seedbed_api.profile_policy import refusals
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.planning.diagnosis.explanation import Explanation


def not_allowed(spec: JobSpec, profile: TrainingProfileSpec) -> Explanation | None:
    """Return the first thing that the profile does not allow; None where all is allowed."""
    found = refusals(spec, profile)
    return Explanation(reason=found[0].reason, message=found[0].message) if found else None
