"""The seats of an attempt in its queue's group: as many as its minimum has pods, and none is taken twice."""

from __future__ import annotations

from seedbed_operator.job_observation import PodView
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import works


def free_seats(scene: Scene) -> int:
    """Return how many workers of the minimum the queue has admitted that are not there; 0 without a queue."""
    gang = scene.driver.gang if scene.driver else None
    return max(gang - 1 - len(_seated(scene)), 0) if gang is not None else 0


def leaving(scene: Scene) -> tuple[PodView, ...]:
    """Return the workers of the group that leave and still have their seat: another one would be too many."""
    return tuple(pod for pod in _seated(scene) if not works(pod, scene.now))


def _seated(scene: Scene) -> tuple[PodView, ...]:
    return tuple(pod for pod in scene.crew if pod.gang is not None and not _has_left(pod))


def _has_left(pod: PodView) -> bool:
    """Tell whether the queue counts a pod no longer: it has failed, or goes and never had a node."""
    return pod.phase == "Failed" or (pod.deleting and pod.node is None)
