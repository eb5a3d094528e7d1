"""`eventually`: wait for a state; when it does not come, the error shows what was seen last."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Server(Protocol):
    """A process that must go on running while something waits for it."""

    @property
    def name(self) -> str: ...

    def running(self) -> bool: ...

    def tail(self) -> str:
        """Return the end of its log."""
        ...


@dataclass(frozen=True, slots=True)
class LiveProcess:
    """A process that must not end before what is awaited has come."""

    name: str
    process: subprocess.Popen[Any]

    def running(self) -> bool:
        return self.process.poll() is None

    def tail(self) -> str:
        return f"exit code {self.process.returncode}"


class NotSeen(AssertionError):  # noqa: N818 - names what happened
    """What a test waited for did not come; the text shows what was seen last."""


def eventually(
    look: Callable[[], T],
    accepts: Callable[[T], object] = bool,
    *,
    what: str,
    seconds: float = 240,
    every: float = 0.1,
    servers: Sequence[Server] = (),
    shown: Callable[[T], object] = repr,
) -> T:
    """Return what `look` gives once `accepts` is true of it.

    `NotSeen` after `seconds`, or as soon as one of `servers` has ended; its text is made by `shown`.
    """
    deadline = time.monotonic() + seconds
    while not accepts(seen := look()):
        ended = [server for server in servers if not server.running()]
        if ended or time.monotonic() > deadline:
            why = f"{ended[0].name} ended" if ended else f"not within {seconds:g} s"
            tails = "".join(f"\n{server.name}: {server.tail()}" for server in ended or servers)
            raise NotSeen(f"{what}: {why}; seen last: {shown(seen)}{tails}")
        time.sleep(every)
    return seen
