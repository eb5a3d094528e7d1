"""Event log of an attempt: JSON lines, one new object per flush, since object stores cannot append."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seedbed.runs.run_folder import RunFolder
from seedbed.storage.object_limits import EVENTS

TRAINED, STOPPED, PAUSED = "Trained", "Stopped", "Paused"
FAILED = "Failed: "
"""Outcomes of the event `Ended`; the reason follows after `FAILED`."""


@dataclass(kw_only=True, slots=True)
class AttemptEventLog:
    """Collects the events of one attempt; safe for threads; `flush` stores them."""

    folder: RunFolder
    attempt: int
    _lines: list[bytes] = field(default_factory=list)
    _sequence: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, kind: str, **fields: Any) -> None:
        """Add an event with the present time (seconds since 1970) and JSON fields."""
        line = json.dumps({"time": round(time.time(), 3), "attempt": self.attempt, "kind": kind, **fields})
        with self._lock:
            self._lines.append(line.encode())

    def flush(self) -> None:
        """Store the collected events, if any, as `events/<attempt>-<seq>.jsonl`."""
        with self._lock:
            if not self._lines:
                return
            path = f"events/{self.attempt}-{self._sequence:06d}.jsonl"
            self.folder.publish(path, b"\n".join(self._lines) + b"\n")
            self._sequence, self._lines = self._sequence + 1, []


def read_events(folder: RunFolder) -> Iterator[dict[str, Any]]:
    """Yield the events of all attempts, by attempt and sequence."""
    for path in sorted(folder.objects.list("events"), key=_order):
        yield from folder.read_json_lines(path, EVENTS)


def newest_events(folder: RunFolder, *, files: int) -> Iterator[dict[str, Any]]:
    """Yield the events of the newest `files` flushes, in order; no other object is read."""
    for path in sorted(folder.objects.list("events"), key=_order)[-files:]:
        yield from folder.read_json_lines(path, EVENTS)


def _order(path: str) -> tuple[int, int]:
    attempt, _, sequence = path.removeprefix("events/").removesuffix(".jsonl").partition("-")
    return int(attempt), int(sequence)
