"""Counters of dataset I/O in this process, for metrics: cache hits and misses, bytes fetched, decodes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit


@dataclass(frozen=True, kw_only=True, slots=True)
class IoTotals:
    """Totals: hits and misses of record batches and decoded images, bytes by kind of store, decodes."""

    hits: int = 0
    misses: int = 0
    rejected: int = 0
    """Cache entries that were damaged."""
    fetched: Mapping[str, int] = field(default_factory=dict)
    decodes: int = 0

    def __add__(self, other: IoTotals) -> IoTotals:
        """Return the sums."""
        fetched = Counter(self.fetched)
        fetched.update(other.fetched)
        return IoTotals(
            hits=self.hits + other.hits,
            misses=self.misses + other.misses,
            rejected=self.rejected + other.rejected,
            fetched=dict(fetched),
            decodes=self.decodes + other.decodes,
        )

    def encode(self) -> str:
        """Return it as JSON."""
        return json.dumps([self.hits, self.misses, self.rejected, dict(self.fetched), self.decodes])


def decode_totals(text: str) -> IoTotals:
    """Return what `encode` wrote."""
    hits, misses, rejected, fetched, decodes = json.loads(text)
    return IoTotals(hits=hits, misses=misses, rejected=rejected, fetched=fetched, decodes=decodes)


class IoCounters:
    """Counters; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0, 0, 0, 0]
        self._fetched: Counter[str] = Counter()

    def hit(self) -> None:
        """Count a read from the cache."""
        with self._lock:
            self._counts[0] += 1

    def miss(self) -> None:
        """Count a read that the cache could not serve."""
        with self._lock:
            self._counts[1] += 1

    def reject(self) -> None:
        """Count a damaged cache entry."""
        with self._lock:
            self._counts[2] += 1

    def decode(self) -> None:
        """Count a decoded image."""
        with self._lock:
            self._counts[3] += 1

    def fetch(self, url: str, count: int) -> None:
        """Count bytes fetched from a store."""
        with self._lock:
            self._fetched[store_scheme(url)] += count

    def absorb(self, other: IoTotals) -> None:
        """Add the totals of another process that reads for this one."""
        with self._lock:
            for place, count in enumerate((other.hits, other.misses, other.rejected, other.decodes)):
                self._counts[place] += count
            self._fetched.update(other.fetched)

    def total(self) -> IoTotals:
        """Return the totals since the last `drain`."""
        with self._lock:
            return self._totals()

    def drain(self) -> IoTotals:
        """Return the totals and reset them; another process adds them to its own."""
        with self._lock:
            counted = self._totals()
            self._counts, self._fetched = [0, 0, 0, 0], Counter()
            return counted

    def _totals(self) -> IoTotals:
        hits, misses, rejected, decodes = self._counts
        fetched = dict(self._fetched)
        return IoTotals(hits=hits, misses=misses, rejected=rejected, fetched=fetched, decodes=decodes)


def store_scheme(url: str) -> str:
    """Return the kind of store that a URL names: s3, https, file, …"""
    return urlsplit(url).scheme or "file"


IO_COUNTERS: Final = IoCounters()
"""The counters of this process."""
