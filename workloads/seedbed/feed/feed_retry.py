"""Retry reads of the feed while a store does not answer, for about a minute, until the feed is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from seedbed_api.errors import InfrastructureError
from seedbed_api.exponential_backoff import ExponentialBackoff

_T = TypeVar("_T")
BACKOFF: Final = ExponentialBackoff(first=0.25, longest=8.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoreRetry:
    """Retries an operation on `InfrastructureError`, with back-off, for `seconds` or until it is stopped."""

    seconds: float = 60.0
    stopped: threading.Event = field(default_factory=threading.Event)

    def call(self, operation: Callable[[], _T]) -> _T:
        """Return what the operation returns, or raise its last `InfrastructureError`."""
        deadline = time.monotonic() + self.seconds
        delays = BACKOFF.delays()
        while True:
            try:
                return operation()
            except InfrastructureError:
                delay = next(delays)
                if time.monotonic() + delay > deadline or self.stopped.wait(delay):
                    raise
