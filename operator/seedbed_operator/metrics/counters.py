"""Counters and histograms of the operator: reconciles, ended attempts, waiting times."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry

from seedbed_api import metric_names as names
from seedbed_api.job_kinds import JOB_KINDS
from seedbed_api.metric_names import Family
from seedbed_api.prometheus_exposition import Sample, counter, histogram, metric_family
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.job_observation import JobView
from seedbed_operator.metrics.metrics_page import Measure
from seedbed_operator.metrics.status_transitions import AttemptEnded, StageReached, transitions

RECONCILE_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
WAIT_BUCKETS: Final = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)

ZERO_SECONDS: Final = 120.0
"""After this time every Prometheus has scraped a new series."""


RETENTION_SECONDS: Final = 3600.0
"""Counters of a namespace are exported for this long after its last job."""


class ZeroBasedCounter:
    """Counter whose new series start at 0: PromQL's `increase` ignores the first value of a series.

    Every Prometheus that scrapes often enough sees the 0.
    """

    def __init__(self, about: Family, clock: Callable[[], float]) -> None:
        self._about, self._clock = about, clock
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._began: dict[tuple[str, ...], float] = {}
        self._last: dict[str, float] = {}
        """Last time that a value of the first label was in use."""

    def count(self, *values: str) -> None:
        """Count one, with the values of the labels in their order."""
        self._began.setdefault(values, self._clock())
        self._counts[values] += 1

    def forget(self, value: str) -> None:
        """Drop the series whose first label has a value."""
        for values in [values for values in self._counts if values[0] == value]:
            del self._counts[values], self._began[values]

    def retain(self, first: Collection[str]) -> None:
        """Drop series whose first label has had none of these values for a while."""
        now = self._clock()
        self._last |= dict.fromkeys(first, now)
        for value in {values[0] for values in self._counts}.difference(first):
            if now >= self._last.setdefault(value, now) + RETENTION_SECONDS:
                self.forget(value)
                del self._last[value]

    def collect(self) -> Measure:
        """Return a function that exports the counts of this moment."""
        samples = [self._sample(values) for values in self._counts]
        return lambda: (metric_family(self._about, samples),)

    def _sample(self, values: tuple[str, ...]) -> Sample:
        is_new = self._clock() < self._began[values] + ZERO_SECONDS
        labels = dict(zip(self._about.labels, values, strict=True))
        return labels, 0 if is_new else self._counts[values]


class Counters:
    """Counters and histograms since the process began."""

    registry: CollectorRegistry
    """Registry of the metrics of prometheus_client."""

    def __init__(
        self, clock: Callable[[], float], namespaces: Callable[[], Collection[str] | None] = lambda: None
    ) -> None:
        """`namespaces` returns those that have jobs; None where unknown."""
        self._namespaces = namespaces
        self.registry = registry = CollectorRegistry()
        self._reconciles = counter(names.RECONCILES, registry)
        for result in ("success", "failure"):
            self._reconciles.labels(result=result)
        self._seconds = histogram(names.RECONCILE_SECONDS, registry, RECONCILE_BUCKETS)
        self._ended = ZeroBasedCounter(names.ATTEMPTS_ENDED, clock)
        self._waits = {
            "Running": histogram(names.TIME_TO_RUNNING, registry, WAIT_BUCKETS),
            "FirstStep": histogram(names.TIME_TO_FIRST_STEP, registry, WAIT_BUCKETS),
        }
        for waits in self._waits.values():
            for kind in JOB_KINDS:
                waits.labels(kind=kind)

    def collect(self) -> Measure:
        """Return a function that exports what is not in the registry."""
        if (known := self._namespaces()) is not None:
            self._ended.retain(known)
        return self._ended.collect()

    def forget(self, namespace: str) -> None:
        """Drop the counters of a deleted namespace."""
        self._ended.forget(namespace)

    def record_reconcile(self, seconds: float, failed: bool) -> None:
        """Count a reconcile."""
        self._reconciles.labels(result="failure" if failed else "success").inc()
        self._seconds.observe(seconds)

    def record_status(self, job: JobView, status: LifecycleStatus, now: datetime) -> None:
        """Count the transitions from the previous status to the one just written."""
        kind = job.kind
        for turn in transitions(job.created, job.status, status, now):
            match turn:
                case AttemptEnded(cause=cause, reason=reason):
                    self._ended.count(job.namespace, kind, cause, reason)
                case StageReached(stage=stage, seconds=seconds):
                    self._waits[stage].labels(kind=kind).observe(seconds)
