"""Removing pods whose attempt is over: the driver first, which checkpoints; its workers when it has ended."""

from __future__ import annotations

from datetime import timedelta

from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Delete, PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended_or_is_lost, is_lost
from seedbed_operator.planning.sidecar_containers import still_running_container

RECHECK_INTERVAL = timedelta(seconds=30)
"""Pods that are being deleted may get lost with their node, which no event tells."""


INJECTED_CONTAINER_GRACE = 30
"""Seconds to end for a container that runs on after ours, for which the grace of the pod is meant."""


def delete_pods(context: JobContext, builder: PlanBuilder, *, up_to: int | None = None) -> PlanBuilder:
    """Delete what is left of all attempts, or of those up to a number."""
    drivers = [pod for pod in context.drivers if up_to is None or pod.attempt <= up_to]
    for driver in drivers:
        builder = _delete_driver_and_workers(context, builder, driver)
    waiting = [*drivers, *context.orphans]
    return builder.requeue(context.now + RECHECK_INTERVAL) if waiting else builder


def _delete_driver_and_workers(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Delete a driver that works; the workers of one that is over; and then, as the last pod, the driver."""
    if not has_ended_or_is_lost(driver, context.now):
        return builder.add_actions(*_deletions(driver))
    attempt_workers = context.workers_of(driver)
    builder = builder.add_actions(*(delete for worker in attempt_workers for delete in _deletions(worker)))
    if any(not is_lost(worker, context.now) for worker in attempt_workers):
        return builder
    return builder.add_actions(*_deletions(driver))


def _deletions(pod: PodView) -> tuple[Delete, ...]:
    if pod.deleting:
        return ()
    grace = INJECTED_CONTAINER_GRACE if still_running_container(pod) else None
    return (Delete(kind="Pod", name=pod.name, uid=pod.uid, grace_seconds=grace),)
