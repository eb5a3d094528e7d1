"""The interface of a backend, which turns a desired attempt into Kubernetes objects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from seedbed_api.run_identity import NOTHING_EXPECTED, ExpectedIdentity
from seedbed_api.trainingjob_status import ObjectStatus
from seedbed_operator.job_observation import JobView, ProfileView
from seedbed_operator.plan import Create


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredAttempt:
    """One attempt as it should be now."""

    number: int
    driver_uid: str | None
    """Uid of the driver pod, which owns the other pods; None before it exists."""
    workers: tuple[int, ...]
    """Indices of the worker pods that should exist now."""
    image: str
    """Image by digest, pinned at the first attempt."""
    gang_size: int = 0
    """How many pods a queue admits together: the driver and the first workers."""
    alone: tuple[int, ...] = ()
    """Indices of the workers that a queue admits one by one."""
    expected: ExpectedIdentity = NOTHING_EXPECTED
    """What earlier attempts found and this one must find again."""


class Backend(Protocol):
    """Runs Ray for a job; chosen once per job and stored in its status."""

    @property
    def name(self) -> Literal["Pods", "KubeRay"]:
        """Return the value of status.backend."""

    def children(self, job: JobView, profile: ProfileView, attempt: DesiredAttempt) -> tuple[Create, ...]:
        """Return all objects of the attempt in the order of creation."""

    def verification(
        self, job: JobView, profile: ProfileView, attempt: DesiredAttempt, receipt_digest: str
    ) -> tuple[Create, ...]:
        """Return the pod that verifies a receipt, after what it needs; its number is that of the attempt."""

    def signature_upload(
        self, job: JobView, profile: ProfileView, attempt: DesiredAttempt, receipt: ObjectStatus
    ) -> tuple[Create, ...]:
        """Return the pod that stores the signature of a receipt, after what it needs, numbered likewise."""


Backends: TypeAlias = Mapping[str, Backend]
"""Backends by name."""
