"""Phase of an attempt: before its first step, training, finishing, or below its minimum of workers."""

from __future__ import annotations

from datetime import datetime

from seedbed_api.conditions import ConditionType
from seedbed_api.pod_contract.driver_messages import LiveProgress
from seedbed_api.timestamps import parse_time
from seedbed_operator.planning.job_context import JobContext
from seedbed_operator.planning.pod_state import is_running
from seedbed_operator.planning.worker_count import min_ranks, pods_for


def has_trained(context: JobContext) -> bool:
    """Return whether the newest attempt has made a step, even if it waits for lost workers now."""
    stepped = context.live is not None and has_stepped(context.live)
    return context.is_true(ConditionType.RUNNING) or _recorded_lack(context) is not None or stepped


def has_stepped(live: LiveProgress) -> bool:
    """Return whether a driver has made a step; before, its activity is Starting."""
    return live.activity != "Starting" and live.steps is not None


def is_finishing(context: JobContext) -> bool:
    """Return whether the driver no longer needs its workers."""
    return context.live is not None and context.live.activity == "Finishing"


def driver_reports_training(context: JobContext) -> bool:
    """Return whether the driver reports its minimum of workers and steps."""
    live = context.live
    enough = live is not None and live.workers is not None and live.workers.ready >= min_ranks(context)
    return live is not None and has_stepped(live) and enough


def lacks_workers(context: JobContext) -> bool:
    """Return whether fewer workers than the minimum run in a trained attempt that needs them."""
    if context.backend is None or not has_trained(context) or is_finishing(context):
        return False
    running = sum(is_running(pod, context.now) for pod in context.attempt_workers)
    return running < pods_for(context, min_ranks(context))


def lacks_workers_since(context: JobContext) -> datetime | None:
    """Return since when; a step of the driver shows that it had its workers until then."""
    if not lacks_workers(context):
        return None
    noted = _recorded_lack(context) or context.now
    changed = context.evidence.progress_changed.get(context.driver.uid) if context.driver else None
    return max(noted, changed) if changed is not None and driver_reports_training(context) else noted


def complete_since(context: JobContext) -> datetime | None:
    """Return since when the attempt has its minimum again; None otherwise."""
    if _recorded_lack(context) is not None:
        return None if lacks_workers(context) else context.now
    workers = context.status.workers
    return parse_time(workers.complete_since) if workers else None


def _recorded_lack(context: JobContext) -> datetime | None:
    workers = context.status.workers
    return parse_time(workers.lacking_since) if workers else None
