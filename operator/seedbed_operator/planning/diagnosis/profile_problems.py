"""Profiles that are not there, are not valid, or do not allow what the job asks for."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason
from seedbed_api.job_kinds import JobSpec
from seedbed_api.profile_policy import refusals
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.planning.diagnosis import Explanation
from seedbed_operator.planning.job_context import Scene


def without_a_profile(scene: Scene) -> Explanation | None:
    """Explain why no pod can be made by the profile as it is."""
    name, given = scene.spec.cluster.profile, scene.observation.profile
    if given is None:
        message = f"spec.cluster.profile: there is no TrainingProfile {name}; create it, or name another one"
        return Explanation(reason=RunningReason.PROFILE_NOT_FOUND, message=message)
    if given.spec is None:
        message = f"TrainingProfile {name} is not valid: {given.spec_error}; its admin must correct it"
        return Explanation(reason=RunningReason.PROFILE_INVALID, message=message)
    if problem := not_allowed(scene.spec, given.spec):
        return problem
    if scene.backend is None:
        message = (
            f"TrainingProfile {name} wants backend {given.spec.backend}, which is not to be had here; "
            "its admin must set spec.backend to Pods, or the job name another profile"
        )
        return Explanation(reason=RunningReason.BACKEND_UNAVAILABLE, message=message)
    return None


def not_allowed(spec: JobSpec, profile: TrainingProfileSpec) -> Explanation | None:
    """Return the first thing that the profile does not allow; None where all is allowed."""
    found = refusals(spec, profile)
    return Explanation(reason=found[0].reason, message=found[0].message) if found else None
