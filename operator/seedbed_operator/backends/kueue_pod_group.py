"""How a queue admits the pods of an attempt: its minimum as one group, every worker above that by itself.

Labels and annotations are those of Kueue's integration of plain pods (0.17, `pkg/controller/jobs/pod`).
A group is admitted when all of its pods are there and there is room for all; pods beyond its count are
deleted; one that failed keeps its room until another pod of the group takes it. Kueue passes over a pod
whose controller is a pod that it manages: the driver owns the workers of a queued job and is not their
controller (ADR 19).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from seedbed_operator.job_observation import JobView

QUEUE = "kueue.x-k8s.io/queue-name"
GROUP = "kueue.x-k8s.io/pod-group-name"
COUNT = "kueue.x-k8s.io/pod-group-total-count"
_RETRIABLE = "kueue.x-k8s.io/retriable-in-group"
"""Where it is false, a group is over when all of its pods have ended, and its finalizers go."""


def is_queued(labels: Mapping[str, str]) -> bool:
    """Tell whether pods with these labels go through a queue."""
    return QUEUE in labels


def group_name(job: JobView, attempt: int) -> str:
    """Return the name of an attempt's group, and of its Workload: no other object's of the same name."""
    return f"{job.name}-{attempt}-{job.uid[:8]}"


def group_labels(job: JobView, attempt: int) -> dict[str, str]:
    """Return the labels of a pod of the group."""
    return {GROUP: group_name(job, attempt)}


def group_annotations(count: int) -> dict[str, str]:
    """Return the annotations of a pod of a group of so many."""
    return {COUNT: str(count), _RETRIABLE: "false"}


def gang_size(metadata: Mapping[str, Any]) -> int | None:
    """Return of how many pods the group of a pod is; None where it stands alone."""
    if GROUP not in (metadata.get("labels") or {}):
        return None
    count = str((metadata.get("annotations") or {}).get(COUNT) or "")
    return int(count) if count.isascii() and count.isdigit() and len(count) <= 5 and int(count) else None
