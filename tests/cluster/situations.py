"""Why a job is not running: what is set up for real, what the job must say, and what makes it go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cluster.grounds import (
    JOB,
    Action,
    changes_profile,
    creates,
    deletes,
    nothing,
    patches,
)

OVER = "spec.cluster.overrides"
POOL = "spec.worker.nodeSelector"


@dataclass(frozen=True, kw_only=True, slots=True)
class Situation:
    """One row."""

    reason: str | None
    """Of the condition Running; None: the operator says nothing."""
    says: tuple[str, ...]
    """What the message names: what is missing, and what to change."""
    job: Mapping[str, Any] = field(default_factory=dict)
    """Changes of a job that would run."""
    profile: Mapping[str, Any] | None = field(default_factory=dict)
    """Changes of its profile; None: there is none."""
    before: Action = nothing
    """What somebody does before the job is created."""
    heals: Action | None = None
    """What somebody does so that the job goes on; None: nothing does."""
    then: str = "RayStarting"
    """Reason of Running when it has gone on: where pods run in name only, no driver ever answers."""
    stalled: bool = False
    """Whether the job stands still until somebody changes it or its profile."""
    events: tuple[str, ...] | None = None
    """Reasons of the Events; None: exactly one, with the reason of Running."""
    seconds: float = 30


def own_pool(name: str) -> dict[str, Any]:
    """Return the selector of nodes that bear a situation's name."""
    return {POOL: {"pool": name}}


SITUATIONS: dict[str, Situation] = {
    "there is no such profile": Situation(
        profile=None,
        reason="ProfileNotFound",
        says=("spec.cluster.profile", "there is no TrainingProfile there-is-no-such-profile", "create it"),
        heals=creates("TrainingProfile", spec={"image": "registry.example/seedbed@sha256:" + "0" * 64}),
    ),
    "the profile breaks a rule that only the operator sees": Situation(
        profile={"spec.labels": {"example.org/": "x"}},
        reason="ProfileInvalid",
        says=("spec.labels", "must have keys like those of labels", "admin"),
        heals=changes_profile(labels={"example.org/": None}),
        stalled=True,
    ),
    "the ResourceQuota is used up": Situation(
        before=creates("ResourceQuota", "team", spec={"hard": {"pods": "1"}}),
        reason="QuotaExceeded",
        says=("team", "pods=1", "raise the ResourceQuota"),
        heals=patches("ResourceQuota", "team", spec={"hard": {"pods": "9"}}),
    ),
    "the Secret is not one that the profile lists": Situation(
        job={"spec.dataset.secretRef": {"name": "s3-read"}},
        reason="SecretNotAllowed",
        says=("spec.dataset.secretRef.name", "s3-read", "allowedSecrets"),
        heals=changes_profile(allowedSecrets=["s3-read"]),
        stalled=True,
    ),
    "a pod of somebody else has the driver's name": Situation(
        before=creates("Pod", f"{JOB}-1-driver", spec={"containers": [{"name": "x", "image": "x"}]}),
        reason="NameConflict",
        says=(f"Pod {JOB}-1-driver", "does not belong to this job", "delete or rename it"),
        heals=deletes("Pod", f"{JOB}-1-driver"),
    ),
}
