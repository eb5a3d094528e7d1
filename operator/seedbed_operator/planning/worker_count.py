"""How many workers an attempt has: the minimum at first, the useful maximum once it trains."""

from __future__ import annotations

from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import is_active


def min_ranks(context: JobContext) -> int:
    """Return the ranks with which an attempt starts, and below which it does not go on."""
    return _ranks(context)[0]


def max_ranks(context: JobContext) -> int:
    """Return the most ranks that are of use."""
    return _ranks(context)[1]


def _ranks(context: JobContext) -> tuple[int, int]:
    """Return the range that the driver under way was told; that of the spec is for the next attempt."""
    template = context.driver.template if context.driver and context.has_open_attempt else None
    return (template and template.ranks) or (context.spec.fewest_ranks, context.spec.most_ranks)


def pods_for(context: JobContext, ranks: int) -> int:
    """Return how many worker pods hold so many ranks."""
    return -(-ranks // context.workers_per_pod)


def initial_workers(context: JobContext) -> tuple[int, ...]:
    """Return the indices of the workers with which an attempt starts."""
    return tuple(range(pods_for(context, min_ranks(context))))


def active_workers(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers of the newest attempt that work or will work."""
    return tuple(pod for pod in context.attempt_workers if is_active(pod, context.now))


def missing_workers(context: JobContext, *, ranks: int) -> tuple[int, ...]:
    """Return indices for the workers that are missing: the smallest that no pod has.

    One that goes and still has its seat in a queue's group is missing when it has left it.
    """
    count = pods_for(context, ranks) - len(active_workers(context)) - len(leaving_group_members(context))
    taken = {pod.index for pod in context.observation.pods if _has_worker_name(pod, context.attempt)}
    free = (index for index in range(len(taken) + max(count, 0)) if index not in taken)
    return tuple(index for index, _ in zip(free, range(count), strict=False))


def _has_worker_name(pod: PodView, attempt: int) -> bool:
    return pod.role == "worker" and pod.attempt == attempt


def free_group_slots(context: JobContext) -> int:
    """Return how many workers of the minimum the queue has admitted that are not there; 0 without a queue."""
    gang = context.driver.gang_size if context.driver else None
    return max(gang - 1 - len(_group_members(context)), 0) if gang is not None else 0


def leaving_group_members(context: JobContext) -> tuple[PodView, ...]:
    """Return the workers of the group that leave and still have their seat: another one would be too many."""
    return tuple(pod for pod in _group_members(context) if not is_active(pod, context.now))


def _group_members(context: JobContext) -> tuple[PodView, ...]:
    return tuple(
        pod for pod in context.attempt_workers if pod.gang_size is not None and not _has_left_group(pod)
    )


def _has_left_group(pod: PodView) -> bool:
    """Tell whether the queue counts a pod no longer: it has failed, or goes and never had a node."""
    return pod.phase == "Failed" or (pod.deleting and pod.node is None)
