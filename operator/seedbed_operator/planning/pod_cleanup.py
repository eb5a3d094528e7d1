"""Delete the pods of an attempt: first the driver, which writes a checkpoint; after its end the workers."""

from __future__ import annotations

from datetime import timedelta

from seedbed_operator.job_observation import PodView
from seedbed_operator.plan import Delete, PlanBuilder
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import has_ended_or_is_lost, is_lost
from seedbed_operator.planning.sidecar_containers import still_running_container

RECHECK_INTERVAL = timedelta(seconds=30)
"""Terminating pods may be lost with their node without an event."""


INJECTED_CONTAINER_GRACE = 30
"""Grace period in seconds for an injected container that still runs after ours."""


def delete_pods(context: JobContext, builder: PlanBuilder, *, up_to: int | None = None) -> PlanBuilder:
    """Delete the pods of all attempts, or of those up to a number."""
    drivers = [pod for pod in context.drivers if up_to is None or pod.attempt <= up_to]
    for driver in drivers:
        builder = _delete_driver_and_workers(context, builder, driver)
    waiting = [*drivers, *context.orphans]
    return builder.requeue(context.now + RECHECK_INTERVAL) if waiting else builder


def _delete_driver_and_workers(context: JobContext, builder: PlanBuilder, driver: PodView) -> PlanBuilder:
    """Delete a running driver; after its end its workers; last the ended driver pod."""
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
