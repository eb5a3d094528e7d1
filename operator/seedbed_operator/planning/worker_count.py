"""How many workers an attempt has: the minimum at first, the useful maximum once it trains."""

from __future__ import annotations

from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import works


def ranks_at_first(scene: Scene) -> int:
    """Return the ranks with which an attempt starts, and below which it does not go on."""
    return _ranks(scene)[0]


def ranks_at_most(scene: Scene) -> int:
    """Return the most ranks that are of use."""
    return _ranks(scene)[1]


def _ranks(scene: Scene) -> tuple[int, int]:
    """Return the range that the driver under way was told; that of the spec is for the next attempt."""
    template = scene.driver.template if scene.driver and scene.has_open_attempt else None
    return (template and template.ranks) or (scene.spec.fewest_ranks, scene.spec.most_ranks)


def pods_for(scene: Scene, ranks: int) -> int:
    """Return how many worker pods hold so many ranks."""
    return -(-ranks // scene.workers_per_pod)


def first_workers(scene: Scene) -> tuple[int, ...]:
    """Return the indices of the workers with which an attempt starts."""
    return tuple(range(pods_for(scene, ranks_at_first(scene))))


def present(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers of the newest attempt that work or will work."""
    return tuple(pod for pod in scene.crew if works(pod, scene.now))


def missing_workers(scene: Scene, *, ranks: int) -> tuple[int, ...]:
    """Return indices for the workers that are missing: the smallest that no pod has.

    One that goes and still has its seat in a queue's group is missing when it has left it.
    """
    count = pods_for(scene, ranks) - len(present(scene)) - len(leaving(scene))
    taken = {pod.index for pod in scene.observation.pods if _bears_a_name_of(pod, scene.attempt)}
    free = (index for index in range(len(taken) + max(count, 0)) if index not in taken)
    return tuple(index for index, _ in zip(free, range(count), strict=False))


def _bears_a_name_of(pod: PodView, attempt: int) -> bool:
    return pod.role == "worker" and pod.attempt == attempt


def free_seats(scene: Scene) -> int:
    """Return how many workers of the minimum the queue has admitted that are not there; 0 without a queue."""
    gang = scene.driver.gang_size if scene.driver else None
    return max(gang - 1 - len(_seated(scene)), 0) if gang is not None else 0


def leaving(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers of the group that leave and still have their seat: another one would be too many."""
    return tuple(pod for pod in _seated(scene) if not works(pod, scene.now))


def _seated(scene: Scene) -> tuple[PodView, ...]:
    return tuple(pod for pod in scene.crew if pod.gang_size is not None and not _has_left(pod))


def _has_left(pod: PodView) -> bool:
    """Tell whether the queue counts a pod no longer: it has failed, or goes and never had a node."""
    return pod.phase == "Failed" or (pod.deleting and pod.node is None)
