"""Removing pods whose attempt is over: the driver first, which checkpoints; its workers when it has ended."""

from __future__ import annotations

from datetime import timedelta

from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Delete, PlanBuilder
from seedbed_operator.planning.job_context import Scene
from seedbed_operator.planning.pod_state import is_lost, is_over
from seedbed_operator.planning.sidecar_containers import outliving

LOOK_AGAIN = timedelta(seconds=30)
"""Pods that are being deleted may get lost with their node, which no event tells."""


GRACE_OF_OTHERS = 30
"""Seconds to end for a container that runs on after ours, for which the grace of the pod is meant."""


def cleared(scene: Scene, draft: PlanBuilder, *, up_to: int | None = None) -> PlanBuilder:
    """Delete what is left of all attempts, or of those up to a number."""
    drivers = [pod for pod in scene.drivers if up_to is None or pod.attempt <= up_to]
    for driver in drivers:
        draft = _driver_cleared(scene, draft, driver)
    waiting = [*drivers, *scene.orphans]
    return draft.wakes(scene.now + LOOK_AGAIN) if waiting else draft


def _driver_cleared(scene: Scene, draft: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Delete a driver that works; the workers of one that is over; and then, as the last pod, the driver."""
    if not is_over(driver, scene.now):
        return draft.does(*_deletions(driver))
    crew = scene.crew_of(driver)
    draft = draft.does(*(delete for worker in crew for delete in _deletions(worker)))
    if any(not is_lost(worker, scene.now) for worker in crew):
        return draft
    return draft.does(*_deletions(driver))


def _deletions(pod: PodView) -> tuple[Delete, ...]:
    if pod.deleting:
        return ()
    grace = GRACE_OF_OTHERS if outliving(pod) else None
    return (Delete(kind="Pod", name=pod.name, uid=pod.uid, grace_seconds=grace),)
