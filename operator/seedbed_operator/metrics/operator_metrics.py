"""Metrics of the operator itself."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version

from prometheus_client.core import Metric

from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import metric_family, single_sample
from seedbed_operator.metrics.metrics_page import Collect, Measure


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorSnapshot:
    """State of the operator at one moment."""

    leading: bool
    queue_length: int
    queue_age: float
    relists: int
    corrections: int
    relist_age: float | None
    """Before the first relist: time as leader. None while not the leader."""
    watch_age: float | None
    """None before the first event."""
    objects: Mapping[str, int]
    requests: Mapping[tuple[str, str, str], int]
    """By verb, resource and status code."""
    unreadable: Mapping[str, int] = field(default_factory=dict)
    """Objects that could not be read so far, by resource."""
    clock_skew: float | None = None
    """Seconds the operator's clock is ahead of the API server's; None before the first response."""


def operator_collector(feel: Callable[[], OperatorSnapshot]) -> Collect:
    """Return a collector of the operator's state."""

    def collect() -> Measure:
        pulse = feel()
        return lambda: _measured(pulse)

    return collect


def _measured(pulse: OperatorSnapshot) -> Iterator[Metric]:
    build = {"version": version("seedbed"), "python": platform.python_version()}
    yield single_sample(names.BUILD, 1.0, build)
    yield single_sample(names.LEADER, float(pulse.leading))
    yield single_sample(names.QUEUE_LENGTH, pulse.queue_length)
    yield single_sample(names.QUEUE_AGE, pulse.queue_age)
    yield single_sample(names.RELISTS, pulse.relists)
    yield single_sample(names.CORRECTIONS, pulse.corrections)
    yield single_sample(names.RELIST_AGE, pulse.relist_age)
    yield single_sample(names.WATCH_AGE, pulse.watch_age)
    yield single_sample(names.CLOCK_SKEW, pulse.clock_skew)
    yield metric_family(names.OBJECTS, (({"resource": kind}, n) for kind, n in pulse.objects.items()))
    unreadable = dict.fromkeys(pulse.objects, 0) | dict(pulse.unreadable)
    yield metric_family(names.UNREADABLE, (({"resource": kind}, n) for kind, n in unreadable.items()))
    yield metric_family(
        names.REQUESTS,
        (
            ({"verb": verb, "resource": resource, "code": code}, n)
            for (verb, resource, code), n in pulse.requests.items()
        ),
    )
