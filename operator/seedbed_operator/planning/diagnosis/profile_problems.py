"""Profiles that are not there, are not valid, or do not allow what the job asks for."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.job_kinds import JobSpec
from seedbed_api.profile_policy import policy_violations
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.planning.diagnosis import Diagnosis
from seedbed_operator.planning.job_context import JobContext


def diagnose_profile(context: JobContext) -> Diagnosis | None:
    """Explain why no pod can be made by the profile as it is."""
    name, given = context.spec.cluster.profile, context.observation.profile
    if given is None:
        message = f"spec.cluster.profile: there is no TrainingProfile {name}; create it, or name another one"
        return Diagnosis(reason=RunningReason.PROFILE_NOT_FOUND, message=message)
    if given.spec is None:
        message = f"TrainingProfile {name} is not valid: {given.spec_error}; its admin must correct it"
        return Diagnosis(reason=RunningReason.PROFILE_INVALID, message=message)
    if problem := check_profile_policy(context.spec, given.spec):
        return problem
    if context.backend is None:
        message = (
            f"TrainingProfile {name} wants backend {given.spec.backend}, which is not to be had here; "
            "its admin must set spec.backend to Pods, or the job name another profile"
        )
        return Diagnosis(reason=RunningReason.BACKEND_UNAVAILABLE, message=message)
    return None


def check_profile_policy(spec: JobSpec, profile: TrainingProfileSpec) -> Diagnosis | None:
    """Return the first thing that the profile does not allow; None where all is allowed."""
    found = policy_violations(spec, profile)
    return Diagnosis(reason=found[0].reason, message=found[0].message) if found else None
