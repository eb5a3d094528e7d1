"""What is counted while the operator works: passes, ends of attempts, waits."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry

from seedbed_api import metrics as names
from seedbed_api.exposition import counter, histogram
from seedbed_api.status import LifecycleStatus
from seedbed_operator.metrics.turns import AttemptEnded, Reached, turns
from seedbed_operator.observations import JobView

PASS_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAIT_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)


class Tallies:
    """Counters and histograms since the process began."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._reconciles = counter(names.RECONCILES, registry)
        for result in ("success", "failure"):
            self._reconciles.labels(result=result)
        self._seconds = histogram(names.RECONCILE_SECONDS, registry, PASS_BUCKETS)
        self._ended = counter(names.ATTEMPTS_ENDED, registry)
        self._waits = {
            "Running": histogram(names.TIME_TO_RUNNING, registry, WAIT_BUCKETS),
            "FirstStep": histogram(names.TIME_TO_FIRST_STEP, registry, WAIT_BUCKETS),
        }

    def passed(self, seconds: float, failed: bool) -> None:
        """Count a pass."""
        self._reconciles.labels(result="failure" if failed else "success").inc()
        self._seconds.observe(seconds)

    def told(self, job: JobView, status: LifecycleStatus, now: datetime) -> None:
        """Count what a status that was just written says and the one before did not."""
        kind = job.kind
        for turn in turns(job.created, job.status, status, now):
            match turn:
                case AttemptEnded(cause=cause, reason=reason):
                    self._ended.labels(namespace=job.namespace, kind=kind, cause=cause, reason=reason).inc()
                case Reached(station=station, seconds=seconds):
                    self._waits[station].labels(kind=kind).observe(seconds)
