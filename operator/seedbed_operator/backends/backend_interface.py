"""The port to what runs Ray: a pure function, so that KubeRay fits beside plain pods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from seedbed_api.run_identity import NOTHING_EXPECTED, ExpectedIdentity
from seedbed_operator.job_observation import JobView, ProfileView
from seedbed_operator.plan import Create


@dataclass(frozen=True, kw_only=True, slots=True)
class DesiredAttempt:
    """One attempt as it should be."""

    number: int
    driver_uid: str | None
    """The driver pod if it is there; its children are owned by it."""
    workers: tuple[int, ...]
    """Indices of the worker pods that should be there now."""
    image: str
    """By digest; pinned at the first attempt."""
    gang_size: int = 0
    """How many pods a queue must admit together: the driver and the workers with which the attempt starts."""
    alone: tuple[int, ...] = ()
    """Indices of the workers that a queue admits each by itself."""
    expected: ExpectedIdentity = NOTHING_EXPECTED
    """What earlier attempts found and this one must find again."""


class Backend(Protocol):
    """What runs Ray for a job; chosen once per job and kept in its status."""

    @property
    def name(self) -> Literal["Pods", "KubeRay"]:
        """Return the name that status.backend keeps."""

    @property
    def ray_mode(self) -> Literal["head", "join"]:
        """Return what the driver is told: to be the head, or to join a cluster."""

    def children(self, job: JobView, profile: ProfileView, attempt: DesiredAttempt) -> tuple[Create, ...]:
        """Return every child that the attempt should have, in the order of creation."""


Backends: TypeAlias = Mapping[str, Backend]
"""Backends by name."""
