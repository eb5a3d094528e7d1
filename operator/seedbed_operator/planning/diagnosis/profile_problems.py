"""Diagnose the TrainingProfile: missing, invalid, or not allowing what the job requests."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.job_kinds import JobSpec
from seedbed_api.profile_policy import policy_violations
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.job_context import JobContext


def diagnose_profile(context: JobContext) -> Diagnosis | None:
    """Diagnose why no pod can be created with the profile."""
    name, given = context.spec.cluster.profile, context.observation.profile
    if given is None:
        message = f"spec.cluster.profile: TrainingProfile {name} does not exist; create it or name another"
        return Diagnosis(reason=RunningReason.PROFILE_NOT_FOUND, message=message)
    if given.spec is None:
        message = f"TrainingProfile {name} is invalid: {given.spec_error}; its administrator must correct it"
        return Diagnosis(reason=RunningReason.PROFILE_INVALID, message=message)
    if problem := check_profile_policy(context.spec, given.spec):
        return problem
    if context.backend is None:
        message = (
            f"TrainingProfile {name} sets backend {given.spec.backend}, which the operator does not support; "
            "set its spec.backend to Pods, or name another profile in the job"
        )
        return Diagnosis(reason=RunningReason.BACKEND_UNAVAILABLE, message=message)
    return None


def check_profile_policy(spec: JobSpec, profile: TrainingProfileSpec) -> Diagnosis | None:
    """Return the first field that the profile does not allow; None where all is allowed."""
    found = policy_violations(spec, profile)
    return Diagnosis(reason=found[0].reason, message=found[0].message) if found else None
