"""Writes that the API server refused: quota, admission, names that are taken; in plain words."""

from __future__ import annotations

import re

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import RejectedWrite
from seedbed_operator.planning.diagnosis import Diagnosis

_FAMILIES = (
    (
        r"exceeded quota",
        RunningReason.QUOTA_EXCEEDED,
        "raise the ResourceQuota, wait for others to finish, or ask for less",
    ),
    (
        r"failed quota",
        RunningReason.QUOTA_EXCEEDED,
        "the ResourceQuota wants limits that the pods do not set: add a LimitRange with defaults",
    ),
    (
        r"violates PodSecurity",
        RunningReason.ADMISSION_DENIED,
        "of all that a profile can say only a hostPath cache breaks a level: choose another cache.type in "
        "the profile, or a level for the namespace that allows it",
    ),
    (
        r"serviceaccount.* not found",
        RunningReason.SERVICE_ACCOUNT_NOT_FOUND,
        "create it in the namespace of the job, or correct serviceAccountName",
    ),
    (
        r"no PriorityClass",
        RunningReason.PRIORITY_CLASS_NOT_FOUND,
        "create it, or correct priorityClassName",
    ),
    (
        r"RuntimeClass.* not found",
        RunningReason.ADMISSION_DENIED,
        "create it, or correct runtimeClassName of the profile",
    ),
    (
        r"(maximum|minimum) .* usage per",
        RunningReason.ADMISSION_DENIED,
        "raise the LimitRange of the namespace, or ask for less: resources of the profile, "
        "spec.cluster.overrides",
    ),
    (
        r"being terminated",
        RunningReason.ADMISSION_DENIED,
        "the namespace is being deleted: create the job in another one",
    ),
    (
        r"cannot create resource",
        RunningReason.ADMISSION_DENIED,
        "the operator lacks a permission: install the RBAC rules of its chart",
    ),
    (
        r"failed calling webhook",
        RunningReason.ADMISSION_DENIED,
        "that admission webhook does not answer: whoever runs it must bring it back, or remove it",
    ),
    (
        r"webhook|AdmissionPolicy",
        RunningReason.ADMISSION_DENIED,
        "ask whoever set that rule; labels, annotations and resources of the pods come from the profile "
        "and from spec.cluster.overrides",
    ),
)
_FORBIDDEN = re.compile(r'^[a-z]+ "[^"]*" is forbidden: ')
"""What the API server says first, and the message says in its own words."""


def diagnose_rejected_write(refusal: RejectedWrite) -> Diagnosis:
    """Explain a refused write."""
    if refusal.code == 409:
        return diagnose_name_conflict(refusal.kind, refusal.name)
    for pattern, reason, fix in _FAMILIES:
        if re.search(pattern, refusal.message, re.IGNORECASE):
            return Diagnosis(reason=reason, message=f"{_rejection_message(refusal)}; {fix}")
    return Diagnosis(reason=RunningReason.ADMISSION_DENIED, message=_rejection_message(refusal))


def diagnose_name_conflict(kind: str, name: str) -> Diagnosis:
    """Explain a name that somebody else's object bears."""
    message = (
        f"there is a {kind} {name} that does not belong to this job; it is left alone: "
        "delete or rename it, or create the job under another name"
    )
    return Diagnosis(reason=RunningReason.NAME_CONFLICT, message=message)


def _rejection_message(refusal: RejectedWrite) -> str:
    told = _FORBIDDEN.sub("", refusal.message.strip()).rstrip(".")
    return f"the API server refuses {refusal.kind} {refusal.name}: {told}"
