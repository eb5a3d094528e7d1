"""Diagnose the TrainingProfile: missing, invalid, or not allowing the namespace or what the job requests."""

from __future__ import annotations

from seedbed_api.conditions import RunningReason, one_line
from seedbed_api.job_kinds import JobSpec
from seedbed_api.job_size import size_violations
from seedbed_api.namespace_policy import namespace_violation, needs_namespace_labels
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
    if context.job.metadata_problem is not None:
        return Diagnosis(reason=RunningReason.METADATA_TOO_LARGE, message=context.job.metadata_problem)
    if context.backend is None:
        message = (
            f"TrainingProfile {name} sets backend {given.spec.backend}, which the operator does not support; "
            "set its spec.backend to Pods, or name another profile in the job"
        )
        return Diagnosis(reason=RunningReason.BACKEND_UNAVAILABLE, message=message)
    return None


def lacks_namespace_labels(context: JobContext) -> bool:
    """Return whether labels of the namespace decide about the next attempt and were not read yet."""
    profile = context.profile
    if profile is None or profile.spec is None or context.evidence.namespace is not None:
        return False
    return needs_namespace_labels(profile.spec, context.job.namespace)


def diagnose_namespace(context: JobContext) -> Diagnosis | None:
    """Diagnose why jobs of this namespace may not use the profile; checked when an attempt starts."""
    profile, seen = context.profile, context.evidence.namespace
    if profile is None or profile.spec is None:
        return None
    labels = seen.labels if seen is not None else None
    problem = namespace_violation(profile.spec, profile.name, context.job.namespace, labels)
    if problem is None:
        return None
    return Diagnosis(reason=RunningReason.NAMESPACE_NOT_ALLOWED, message=one_line(problem))


def check_profile_policy(
    spec: JobSpec, profile: TrainingProfileSpec, *, ranks: int | None = None
) -> Diagnosis | None:
    """Return the first field that the profile does not allow; None where all is allowed.

    `ranks` are the most of a running attempt, whatever its job says now.
    """
    found = (*policy_violations(spec, profile), *size_violations(spec, profile, ranks=ranks))
    return Diagnosis(reason=found[0].reason, message=found[0].message) if found else None
