"""Diagnose writes that the API server rejected: quota, admission, name conflicts."""

from __future__ import annotations

import re

from seedbed_api.conditions import RunningReason
from seedbed_operator.job_observation import RejectedWrite
from seedbed_operator.planning.diagnosis import Diagnosis

_FAMILIES = (
    (
        r"exceeded quota",
        RunningReason.QUOTA_EXCEEDED,
        "raise the ResourceQuota, wait for other jobs, or request less",
    ),
    (
        r"failed quota",
        RunningReason.QUOTA_EXCEEDED,
        "the ResourceQuota requires limits that the pods do not set: add a LimitRange with defaults",
    ),
    (
        r"violates PodSecurity",
        RunningReason.ADMISSION_DENIED,
        "only a hostPath cache violates a Pod Security level: choose another cache.type in the profile, or a "
        "level of the namespace that allows it",
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
        "raise the LimitRange of the namespace, or request less: resources of the profile, "
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
        "the admission webhook does not respond: repair it, or remove its configuration",
    ),
    (
        r"webhook|AdmissionPolicy",
        RunningReason.ADMISSION_DENIED,
        "ask the owner of that policy; labels, annotations and resources of the pods come from the profile "
        "and from spec.cluster.overrides",
    ),
)
_FORBIDDEN = re.compile(r'^[a-z]+ "[^"]*" is forbidden: ')
"""Prefix of the API server's message, which the diagnosis repeats."""


def diagnose_rejected_write(refusal: RejectedWrite) -> Diagnosis:
    """Diagnose a rejected write."""
    if refusal.code == 409:
        return diagnose_name_conflict(refusal.kind, refusal.name)
    for pattern, reason, fix in _FAMILIES:
        if re.search(pattern, refusal.message, re.IGNORECASE):
            return Diagnosis(reason=reason, message=f"{_rejection_message(refusal)}; {fix}")
    return Diagnosis(reason=RunningReason.ADMISSION_DENIED, message=_rejection_message(refusal))


def diagnose_name_conflict(kind: str, name: str) -> Diagnosis:
    """Diagnose a name that another object has."""
    message = (
        f"{kind} {name} exists and does not belong to this job; the operator does not touch it: "
        "delete it, or create the job under another name"
    )
    return Diagnosis(reason=RunningReason.NAME_CONFLICT, message=message)


def _rejection_message(refusal: RejectedWrite) -> str:
    text = _FORBIDDEN.sub("", refusal.message.strip()).rstrip(".")
    return f"the API server rejects {refusal.kind} {refusal.name}: {text}"
