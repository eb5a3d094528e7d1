"""What shall be done about one job: frozen values, carried out by the loop, in their order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from seedbed_api.trainingjob_status import LifecycleStatus


@dataclass(frozen=True, kw_only=True, slots=True)
class Create:
    """Create a child by POST; an answer 409 is a refusal, never an adoption (a Secret is there already)."""

    kind: Literal["Pod", "Service", "Secret"]
    body: Mapping[str, Any]
    owner: str | None = None
    """Name of the pod that owns it and is created before it in the same plan: its uid is filled in."""
    controlled: bool = True
    """Whether that owner is its controller as well."""

    @property
    def name(self) -> str:
        """Return the child's name."""
        return str(self.body["metadata"]["name"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Delete:
    """Delete a child, if it still has this uid."""

    kind: Literal["Pod"]
    name: str
    uid: str
    grace_seconds: int | None = None
    """None: the pod's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DeleteJob:
    """Delete the job itself, whose time to live after its end is over, if it still has this uid."""

    uid: str


Action = Create | Delete | DeleteJob


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """Something to ask for before the plan can be final; asked for once per pass."""

    kind: Literal["LogTail", "Notices", "Progress"]
    pod: str
    pod_uid: str
    address: str | None = None
    """IP of the pod, for Progress."""
    container: str | None = None
    """Whose log, in a pod that has several containers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """A Kubernetes Event about the job, sent after its status was written."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    action: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Writes in their order, the status that is true once they are done, and when to look again."""

    actions: tuple[Action, ...] = ()
    status: LifecycleStatus | None = None
    """The whole status to be; None: nothing to say (an object that is being deleted, or another's)."""
    announcements: tuple[Announcement, ...] = ()
    needs: tuple[Need, ...] = ()
    wake_at: datetime | None = None
    """When time alone changes the plan: a deadline, the end of a back-off, the next look at progress. A time
    that is past means: again, as soon as this plan's writes are in the store."""
