"""The condition Ready of a TrainingProfile: whether any job may use it, and what its admin must change."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from seedbed_api.conditions import Condition, RunningReason, one_line, with_condition
from seedbed_api.namespace_policy import granted_powers, serves_nobody, unnamed_namespaces_message
from seedbed_api.timestamps import format_time
from seedbed_api.trainingprofile import TrainingProfileSpec, TrainingProfileStatus
from seedbed_operator.job_observation import ProfileView

READY: Final = "Ready"
ACCEPTED: Final = "Accepted"
NO_NAMESPACE: Final = "NoNamespaceAllowed"
_FIX: Final = (
    "list the namespaces in spec.allowedNamespaces.names, or select them with allowedNamespaces.selector"
)


def profile_status(profile: ProfileView, now: datetime) -> TrainingProfileStatus:
    """Return the status that a profile should have."""
    status, reason, message = _verdict(profile)
    condition = Condition(
        type=READY,
        status="True" if status else "False",
        reason=reason,
        message=one_line(message),
        last_transition_time=format_time(now),
        observed_generation=profile.generation,
    )
    conditions = with_condition(profile.status.conditions, condition)
    return TrainingProfileStatus(observed_generation=profile.generation, conditions=conditions)


def _verdict(profile: ProfileView) -> tuple[bool, str, str]:
    if profile.spec is None:
        return False, RunningReason.PROFILE_INVALID, profile.spec_error or "the spec is not valid"
    if serves_nobody(profile.spec):
        return False, NO_NAMESPACE, f"{_why_nobody(profile.spec)}; {_FIX}"
    return True, ACCEPTED, ""


def _why_nobody(spec: TrainingProfileSpec) -> str:
    if spec.allowed_namespaces is None:
        return unnamed_namespaces_message(granted_powers(spec))
    return "allowedNamespaces names no namespace and selects none"
