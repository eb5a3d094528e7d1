"""The metrics page: values are collected in the event loop and written as text by a thread.

With thousands of jobs writing takes seconds. The collected values do not change meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from seedbed_api.prometheus_exposition import exposition_page, exposition_text

Measure: TypeAlias = Callable[[], Iterable[Metric]]
"""Returns the collected metrics; called by another thread."""
Collect: TypeAlias = Callable[[], Measure]
"""Collects values; called by the event loop, so it must be quick."""


class MetricsPage:
    """Counters and histograms of a registry, and what collectors measure at a scrape."""

    def __init__(self, registry: CollectorRegistry, collectors: Sequence[Collect]) -> None:
        self._registry, self._collectors = registry, collectors
        self._turn = asyncio.Lock()

    async def text(self) -> bytes:
        """Return the page; concurrent scrapes wait for each other."""
        async with self._turn:
            measures = [collect() for collect in self._collectors]
            return await asyncio.to_thread(self._written, measures)

    def _written(self, measures: Sequence[Measure]) -> bytes:
        return exposition_text(self._registry) + b"".join(map(exposition_page, measures))
