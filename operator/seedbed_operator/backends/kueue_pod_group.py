"""Pod groups of Kueue: a queue admits the minimum of an attempt as one group, further workers one by one.

Labels and annotations are those of Kueue's integration of plain pods (0.17, `pkg/controller/jobs/pod`).
Kueue admits a group once all of its pods exist and there is room for all. It deletes pods beyond the count of
the group; a failed pod holds its room until another pod of the group takes it. Kueue ignores a pod whose
controller is a pod that it manages, so the driver of a queued job owns the workers without being their
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
"""If false, a group ends with its last pod, and Kueue removes its finalizers."""


def is_queued(labels: Mapping[str, str]) -> bool:
    """Return whether pods with these labels go through a queue."""
    return QUEUE in labels


def group_name(job: JobView, attempt: int) -> str:
    """Return the name of an attempt's group and Workload; the uid keeps jobs of the same name apart."""
    return f"{job.name}-{attempt}-{job.uid[:8]}"


def group_labels(job: JobView, attempt: int) -> dict[str, str]:
    """Return the labels of a pod of the group."""
    return {GROUP: group_name(job, attempt)}


def group_annotations(count: int) -> dict[str, str]:
    """Return the annotations of a pod of a group of `count` pods."""
    return {COUNT: str(count), _RETRIABLE: "false"}


def gang_size(metadata: Mapping[str, Any]) -> int | None:
    """Return the number of pods in the group of a pod; None for a pod without a group."""
    labels, annotations = metadata.get("labels"), metadata.get("annotations")
    if not isinstance(labels, Mapping) or GROUP not in labels:
        return None
    count = str((annotations if isinstance(annotations, Mapping) else {}).get(COUNT) or "")
    return int(count) if count.isascii() and count.isdigit() and len(count) <= 5 and int(count) else None
