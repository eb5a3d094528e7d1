"""The metrics page for Prometheus, and its families by the names of `metric_names`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from seedbed_api.metric_names import Family

Sample = tuple[Mapping[str, str], float]
"""Labels and value."""

disable_created_metrics()  # type: ignore[no-untyped-call]


def metric_family(about: Family, samples: Iterable[Sample]) -> Metric:
    """Return a family with samples, whose labels must be those of the family."""
    metric = Metric(about.base, about.meaning, about.kind)
    for labels, value in samples:
        assert set(labels) == set(about.labels), (about.name, labels)
        metric.add_sample(about.name, dict(labels), value)
    return metric


def single_sample(about: Family, value: float | None, labels: Mapping[str, str] | None = None) -> Metric:
    """Return a family with one sample, or with none if the value is None."""
    return metric_family(about, () if value is None else ((labels or {}, value),))


def counter(about: Family, registry: CollectorRegistry) -> Counter:
    """Return a registered counter."""
    return Counter(about.name, about.meaning, about.labels, registry=registry)


def histogram(about: Family, registry: CollectorRegistry, buckets: Iterable[float]) -> Histogram:
    """Return a registered histogram."""
    return Histogram(about.name, about.meaning, about.labels, registry=registry, buckets=tuple(buckets))


class CallbackCollector(Collector):
    """A collector out of a function that measures when it is asked."""

    def __init__(self, measure: Callable[[], Iterable[Metric]]) -> None:
        self._measure = measure

    def collect(self) -> Iterable[Metric]:
        """Call the function that measures."""
        return self._measure()

    def describe(self) -> Iterable[Metric]:
        """Describe nothing, so that registration does not measure."""
        return ()


def exposition_text(registry: CollectorRegistry) -> bytes:
    """Return the metrics page of a registry."""
    return generate_latest(registry)


def exposition_page(measure: Callable[[], Iterable[Metric]]) -> bytes:
    """Return the metrics page of families that are measured now."""
    registry = CollectorRegistry()
    registry.register(CallbackCollector(measure))
    return exposition_text(registry)
