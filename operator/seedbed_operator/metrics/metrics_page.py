"""The page that Prometheus reads: what it tells is looked at in the event loop, and written down by a thread.

With thousands of jobs that takes seconds. Nothing moves while the event loop collectors; what it saw stays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from seedbed_api.prometheus_exposition import exposition_page, exposition_text

Measure: TypeAlias = Callable[[], Iterable[Metric]]
"""Measures what was looked at; called by another thread."""
Collect: TypeAlias = Callable[[], Measure]
"""Takes hold of how things are; called by the event loop, which it must not keep long."""


class MetricsPage:
    """Counters and histograms, which lock themselves, and what is measured when somebody asks."""

    def __init__(self, registry: CollectorRegistry, collectors: Sequence[Collect]) -> None:
        self._registry, self._looks = registry, collectors
        self._turn = asyncio.Lock()

    async def text(self) -> bytes:
        """Return the page; one after the other, however many ask."""
        async with self._turn:
            measures = [collect() for collect in self._looks]
            return await asyncio.to_thread(self._written, measures)

    def _written(self, measures: Sequence[Measure]) -> bytes:
        return exposition_text(self._registry) + b"".join(map(exposition_page, measures))
