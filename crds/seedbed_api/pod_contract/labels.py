"""Labels and annotations of the objects of a job, and the names of a pod's containers and roles."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

Role: TypeAlias = Literal["driver", "worker", "verifier", "signature-uploader"]
"""Role of a pod: value of its label, name of its container, and the command that it runs."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
PART_OF_LABEL: Final = "app.kubernetes.io/part-of"
SEEDBED: Final = "seedbed"
"""Value of both."""

JOB_LABEL: Final = "seedbed.dev/job"
KIND_LABEL: Final = "seedbed.dev/kind"
"""Kind of the job; pods of older versions, all of them of TrainingJobs, lack it."""
JOB_UID_LABEL: Final = "seedbed.dev/job-uid"
ATTEMPT_LABEL: Final = "seedbed.dev/attempt"
ROLE_LABEL: Final = "seedbed.dev/role"
POD_SELECTOR: Final = f"{MANAGED_BY_LABEL}={SEEDBED},{JOB_LABEL}"
"""Selects the pods of all jobs, also of jobs that another operator manages."""

VERIFY_ANNOTATION: Final = "seedbed.dev/verify"
"""Annotation of a complete TrainingJob that asks for a verification; another value asks for another one."""

EXECUTION_DIGEST_ANNOTATION: Final = "seedbed.dev/execution-digest"
PROFILE_DIGEST_ANNOTATION: Final = "seedbed.dev/profile-digest"
WORKERS_PER_POD_ANNOTATION: Final = "seedbed.dev/workers-per-pod"
"""Annotations of a driver pod: what its attempt was made from."""
