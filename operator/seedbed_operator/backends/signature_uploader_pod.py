"""The pod that stores the operator's signature beside the receipt of a complete run: small, without Ray."""

from __future__ import annotations

from typing import Final

from seedbed_api.trainingjob_status import ObjectStatus
from seedbed_api.trainingprofile import Resources
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.child_metadata import (
    job_owner_reference,
    metadata,
    pod_labels,
    signature_uploader_name,
)
from seedbed_operator.backends.effective_profile import EffectiveProfile
from seedbed_operator.backends.pod_env import container_variables, signature_uploader_environment
from seedbed_operator.backends.pod_spec import container, pod_spec
from seedbed_operator.job_observation import JobView
from seedbed_operator.plan import Create

ROLE: Final = "signature-uploader"
GRACE_SECONDS: Final = 5
LONGEST_SECONDS: Final = 600
RESOURCES: Final = Resources(cpu="100m", memory="512Mi")
"""One small object is read and one is written; the client of an object store takes 200 MiB."""


def signature_uploader_pod(
    job: JobView, effective: EffectiveProfile, attempt: DesiredAttempt, receipt: ObjectStatus
) -> Create:
    """Return the pod of the nth try, n being the number of the attempt; placed like the driver."""
    environment = signature_uploader_environment(job, effective, attempt, receipt)
    variables = container_variables(job, effective, environment)
    box = container(ROLE, effective, attempt.image, env=variables, resources=RESOURCES)
    box["volumeMounts"] = [mount for mount in box["volumeMounts"] if mount["name"] != "cache"]
    spec = pod_spec(effective, box, effective.profile.driver, grace_seconds=GRACE_SECONDS)
    spec["volumes"] = [volume for volume in spec["volumes"] if volume["name"] != "cache"]
    spec["activeDeadlineSeconds"] = LONGEST_SECONDS
    meta = metadata(
        job,
        signature_uploader_name(job, attempt.number),
        {**effective.extra_labels(job), **pod_labels(job, attempt.number, ROLE)},
        owner=job_owner_reference(job),
        annotations=effective.extra_annotations(job),
    )
    return Create(kind="Pod", body={"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
