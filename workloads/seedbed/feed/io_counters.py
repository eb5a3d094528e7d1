"""What this process reads of datasets: counted where it is read, for Prometheus; nothing depends on it."""

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
    """Reads of record batches and kept pictures, bytes fetched by kind of store, and pictures decoded."""

    hits: int = 0
    misses: int = 0
    rejected: int = 0
    """Entries of the cache whose bytes were damaged."""
    fetched: Mapping[str, int] = field(default_factory=dict)
    decodes: int = 0

    def __add__(self, other: IoTotals) -> IoTotals:
        """Return both together."""
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
    """Counts traffic; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = [0, 0, 0, 0]
        self._fetched: Counter[str] = Counter()

    def hit(self) -> None:
        """Count a read that the cache has answered."""
        with self._lock:
            self._counts[0] += 1

    def miss(self) -> None:
        """Count a read that it has not."""
        with self._lock:
            self._counts[1] += 1

    def reject(self) -> None:
        """Count a damaged entry."""
        with self._lock:
            self._counts[2] += 1

    def decode(self) -> None:
        """Count a picture that was decoded."""
        with self._lock:
            self._counts[3] += 1

    def fetch(self, url: str, count: int) -> None:
        """Count bytes that a store has given."""
        with self._lock:
            self._fetched[store_scheme(url)] += count

    def absorb(self, other: IoTotals) -> None:
        """Count what another process has counted for this one."""
        with self._lock:
            for place, count in enumerate((other.hits, other.misses, other.rejected, other.decodes)):
                self._counts[place] += count
            self._fetched.update(other.fetched)

    def total(self) -> IoTotals:
        """Return all that was counted since the last time it was drained."""
        with self._lock:
            return self._now()

    def drain(self) -> IoTotals:
        """Return what was counted and begin anew: another process counts it from now on."""
        with self._lock:
            counted = self._now()
            self._counts, self._fetched = [0, 0, 0, 0], Counter()
            return counted

    def _now(self) -> IoTotals:
        hits, misses, rejected, decodes = self._counts
        fetched = dict(self._fetched)
        return IoTotals(hits=hits, misses=misses, rejected=rejected, fetched=fetched, decodes=decodes)


def store_scheme(url: str) -> str:
    """Return the kind of store that a URL names: s3, https, file, …"""
    return urlsplit(url).scheme or "file"


IO_COUNTERS: Final = IoCounters()
"""Of this process."""
