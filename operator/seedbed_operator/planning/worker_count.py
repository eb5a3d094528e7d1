"""Worker count of an attempt: the minimum at first, the maximum once it trains; slots of its pod group."""

from __future__ import annotations

from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import is_active


def min_ranks(context: JobContext) -> int:
    """Return the minimum of ranks, with which an attempt starts."""
    return _ranks(context)[0]


def max_ranks(context: JobContext) -> int:
    """Return the maximum of ranks."""
    return _ranks(context)[1]


def _ranks(context: JobContext) -> tuple[int, int]:
    """Return the range that the running driver was given; the spec's range counts for the next attempt."""
    template = context.driver.template if context.driver and context.has_open_attempt else None
    return (template and template.ranks) or (context.spec.fewest_ranks, context.spec.most_ranks)


def pods_for(context: JobContext, ranks: int) -> int:
    """Return the number of worker pods for a number of ranks."""
    return -(-ranks // context.workers_per_pod)


def initial_workers(context: JobContext) -> tuple[int, ...]:
    """Return the indices of the workers with which an attempt starts."""
    return tuple(range(pods_for(context, min_ranks(context))))


def active_workers(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers of the newest attempt that run or will run."""
    return tuple(pod for pod in context.attempt_workers if is_active(pod, context.now))


def missing_workers(context: JobContext, *, ranks: int) -> tuple[int, ...]:
    """Return the smallest free indices for the missing workers.

    A terminating worker that still counts in the queue's pod group is not missing yet.
    """
    count = pods_for(context, ranks) - len(active_workers(context)) - len(leaving_group_members(context))
    taken = {pod.index for pod in context.observation.pods if _has_worker_name(pod, context.attempt)}
    free = (index for index in range(len(taken) + max(count, 0)) if index not in taken)
    return tuple(index for index, _ in zip(free, range(count), strict=False))


def _has_worker_name(pod: PodView, attempt: int) -> bool:
    return pod.role == "worker" and pod.attempt == attempt


def free_group_slots(context: JobContext) -> int:
    """Return the free slots in the queue's pod group; 0 without a queue."""
    gang = context.driver.gang_size if context.driver else None
    return max(gang - 1 - len(_group_members(context)), 0) if gang is not None else 0


def leaving_group_members(context: JobContext) -> tuple[PodView, ...]:
    """Return terminating workers that still count in the pod group; a new one would exceed it."""
    return tuple(pod for pod in _group_members(context) if not is_active(pod, context.now))


def _group_members(context: JobContext) -> tuple[PodView, ...]:
    return tuple(
        pod for pod in context.attempt_workers if pod.gang_size is not None and not _has_left_group(pod)
    )


def _has_left_group(pod: PodView) -> bool:
    """Return whether the queue no longer counts a pod: it failed, or terminates without a node."""
    return pod.phase == "Failed" or (pod.deleting and pod.node is None)
