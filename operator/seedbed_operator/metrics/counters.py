"""What is counted while the operator works: passes, ends of attempts, waits."""

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
"""After so long every Prometheus has read a new series: twice, where it reads once a minute."""


RETENTION_SECONDS: Final = 3600.0
"""So long what was counted in a namespace is told after its last job is gone."""


class ZeroBasedCounter:
    """A counter whose new series are 0 for a while: `increase` does not see with what a series begins.

    Whoever reads them at least that often sees the 0, however many read.
    """

    def __init__(self, about: Family, clock: Callable[[], float]) -> None:
        self._about, self._clock = about, clock
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._began: dict[tuple[str, ...], float] = {}
        self._last: dict[str, float] = {}
        """When a value of the first label was last to be kept."""

    def count(self, *values: str) -> None:
        """Count one, with the values of the labels in their order."""
        self._began.setdefault(values, self._clock())
        self._counts[values] += 1

    def forget(self, value: str) -> None:
        """Forget the series whose first label has a value."""
        for values in [values for values in self._counts if values[0] == value]:
            del self._counts[values], self._began[values]

    def keep(self, first: Collection[str]) -> None:
        """Keep the series whose first label has one of these values, and for a while those that had."""
        now = self._clock()
        self._last |= dict.fromkeys(first, now)
        for value in {values[0] for values in self._counts}.difference(first):
            if now >= self._last.setdefault(value, now) + RETENTION_SECONDS:
                self.forget(value)
                del self._last[value]

    def collect(self) -> Measure:
        """Look at what was counted."""
        samples = [self._sample(values) for values in self._counts]
        return lambda: (metric_family(self._about, samples),)

    def _sample(self, values: tuple[str, ...]) -> Sample:
        is_new = self._clock() < self._began[values] + ZERO_SECONDS
        labels = dict(zip(self._about.labels, values, strict=True))
        return labels, 0 if is_new else self._counts[values]


class Counters:
    """Counters and histograms since the process began."""

    registry: CollectorRegistry
    """Of those that prometheus_client keeps."""

    def __init__(
        self, clock: Callable[[], float], namespaces: Callable[[], Collection[str] | None] = lambda: None
    ) -> None:
        """`namespaces` returns those that have jobs; None: nobody knows."""
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
        """Look at what is not in the registry."""
        if (known := self._namespaces()) is not None:
            self._ended.keep(known)
        return self._ended.collect()

    def forget(self, namespace: str) -> None:
        """Forget what was counted of a namespace that is gone."""
        self._ended.forget(namespace)

    def record_reconcile(self, seconds: float, failed: bool) -> None:
        """Count a pass."""
        self._reconciles.labels(result="failure" if failed else "success").inc()
        self._seconds.observe(seconds)

    def record_status(self, job: JobView, status: LifecycleStatus, now: datetime) -> None:
        """Count what a status that was just written says and the one before did not."""
        kind = job.kind
        for turn in transitions(job.created, job.status, status, now):
            match turn:
                case AttemptEnded(cause=cause, reason=reason):
                    self._ended.count(job.namespace, kind, cause, reason)
                case StageReached(stage=stage, seconds=seconds):
                    self._waits[stage].labels(kind=kind).observe(seconds)
