"""A registry of what is looked at: each reading collectors anew, as a scrape does."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from seedbed_api.prometheus_exposition import CallbackCollector
from seedbed_operator.metrics.metrics_page import Collect


def read_by(collect: Collect) -> CollectorRegistry:
    """Return the registry."""

    def measure() -> Iterable[Metric]:
        return collect()()

    registry = CollectorRegistry()
    registry.register(CallbackCollector(measure))
    return registry
