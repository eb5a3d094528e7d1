"""The pod that recomputes a complete run from its receipt: a worker of one rank, without Ray, read-only."""

from __future__ import annotations

from typing import Any

from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.child_metadata import job_owner_reference, metadata, pod_labels, verifier_name
from seedbed_operator.backends.effective_profile import EffectiveProfile
from seedbed_operator.backends.pod_env import container_variables, verifier_environment
from seedbed_operator.backends.pod_spec import container, pod_spec
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import Create

GRACE_SECONDS = 5
LONGEST_SECONDS = 86_400
"""Longest time of a verification, where the job has no activeDeadlineSeconds."""


def verifier_pod(
    job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, receipt_digest: str
) -> Create:
    """Return the pod of a verification; its number is that of the attempt.

    It has no cache: what others decoded is no evidence, and a claim may be held by another node.
    """
    environment = verifier_environment(job, effective, attempt, receipt_digest)
    box = container(
        "verifier",
        effective,
        attempt.image,
        env=container_variables(job, effective, environment),
        resources=effective.worker_resources,
    )
    box["volumeMounts"] = [_read_only(mount) for mount in box["volumeMounts"] if mount["name"] != "cache"]
    assert job.spec is not None, "a job with an invalid spec has no pods"
    spec = pod_spec(effective, box, effective.profile.worker, grace_seconds=GRACE_SECONDS)
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "cache"]
    spec["activeDeadlineSeconds"] = job.spec.active_deadline_seconds or LONGEST_SECONDS
    meta = metadata(
        job,
        verifier_name(job, attempt.number),
        {**effective.extra_labels(job), **pod_labels(job, attempt.number, "verifier")},
        owner=job_owner_reference(job),
        annotations=effective.extra_annotations(job),
    )
    return Create(kind="Pod", body={"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})


def _read_only(mount: dict[str, Any]) -> dict[str, Any]:
    return {**mount, "readOnly": True} if mount["name"].startswith("claim-") else mount
