"""How long a feed puts up with a store that does not answer: about a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from seedbed_api.errors import InfrastructureError

_T = TypeVar("_T")
_FIRST_PAUSE: Final = 0.25
_LONGEST_PAUSE: Final = 8.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Patience:
    """Repeats what the infrastructure failed, with doubling pauses, until time is up or it is stopped."""

    seconds: float = 60.0
    stopped: threading.Event = field(default_factory=threading.Event)

    def attempt(self, operation: Callable[[], _T]) -> _T:
        """Return what the operation returns, or raise its last `InfrastructureError`."""
        deadline = time.monotonic() + self.seconds
        pause = _FIRST_PAUSE
        while True:
            try:
                return operation()
            except InfrastructureError:
                if time.monotonic() + pause > deadline or self.stopped.wait(pause):
                    raise
            pause = min(2 * pause, _LONGEST_PAUSE)
