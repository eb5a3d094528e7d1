"""Names, labels and owner references of the objects of a job; names follow from job and attempt alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed_api.pod_contract.labels import (
    ATTEMPT_LABEL,
    JOB_LABEL,
    JOB_UID_LABEL,
    KIND_LABEL,
    MANAGED_BY_LABEL,
    PART_OF_LABEL,
    ROLE_LABEL,
    SEEDBED,
    Role,
)
from seedbed_operator.job_observation import JobView

OWNER_SECRET_NAME = "seedbed-owner"
"""Secret of a namespace with the key for its marks in output stores; it outlives the jobs."""
API_VERSION = "seedbed.dev/v1alpha1"


def driver_name(job: JobView, attempt: int) -> str:
    """Return the name of an attempt's driver pod."""
    return f"{_stem(job, attempt)}-driver"


def worker_name(job: JobView, attempt: int, index: int) -> str:
    """Return the name of an attempt's worker pod."""
    return f"{_stem(job, attempt)}-worker-{index}"


def verifier_name(job: JobView, number: int) -> str:
    """Return the name of the pod of a verification."""
    return f"{_stem(job, number)}-verifier"


def signature_uploader_name(job: JobView, number: int) -> str:
    """Return the name of the pod that stores the signature of a receipt, in its nth try."""
    return f"{_stem(job, number)}-signature-uploader"


def service_name(job: JobView, attempt: int) -> str:
    """Return the name of the headless Service under which an attempt's workers find the Ray head."""
    return f"{_stem(job, attempt)}-head"


def _stem(job: JobView, attempt: int) -> str:
    """Return the beginning of names; `sweep` keeps those of a SweepJob and a TrainingJob apart."""
    stem = f"{job.name}-{attempt}"
    return f"{stem}-sweep" if job.kind == "SweepJob" else stem


def token_name(job: JobView) -> str:
    """Return the name of the Secret with the Ray token; a later job of the same name has another Secret."""
    return f"{job.name}-{job.uid[:8]}-ray"


def job_labels(job: JobView) -> dict[str, str]:
    """Return the labels of all objects of a job."""
    return {
        MANAGED_BY_LABEL: SEEDBED,
        PART_OF_LABEL: SEEDBED,
        JOB_LABEL: job.name,
        KIND_LABEL: job.kind,
        JOB_UID_LABEL: job.uid,
    }


def attempt_labels(job: JobView, attempt: int) -> dict[str, str]:
    """Return the labels of all objects of an attempt."""
    return {**job_labels(job), ATTEMPT_LABEL: str(attempt)}


def pod_labels(job: JobView, attempt: int, role: Role) -> dict[str, str]:
    """Return the labels of a pod of an attempt."""
    return {**attempt_labels(job, attempt), ROLE_LABEL: role}


def job_owner_reference(job: JobView) -> dict[str, Any]:
    """Return the owner reference of an object that lives as long as the job."""
    return _owner(API_VERSION, job.kind, job.name, job.uid)


def blocking_job_owner_reference(job: JobView) -> dict[str, Any]:
    """Return the owner reference of an object that a foreground deletion of the job waits for."""
    return {**job_owner_reference(job), "blockOwnerDeletion": True}


def driver_owner_reference(name: str, uid: str, *, controlled: bool = True) -> dict[str, Any]:
    """Return the owner reference of an object that is deleted after the driver pod."""
    return {**_owner("v1", "Pod", name, uid), "controller": controlled}


def metadata(
    job: JobView,
    name: str,
    labels: Mapping[str, str],
    *,
    owner: Mapping[str, Any] | None,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the metadata of an object; an owner that is not known yet is added at creation."""
    return {
        "name": name,
        "namespace": job.namespace,
        "labels": dict(labels),
        **({"annotations": dict(annotations)} if annotations else {}),
        **({"ownerReferences": [dict(owner)]} if owner else {}),
    }


def _owner(api_version: str, kind: str, name: str, uid: str) -> dict[str, Any]:
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
