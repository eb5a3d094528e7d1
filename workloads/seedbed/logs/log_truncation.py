"""Truncation of a long log to its beginning and its end."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

MOST_LOG_BYTES = 16 << 20
"""Limit of one log in the output store."""
LAST_LOG_BYTES = 1 << 20
"""Reserved for the end of the log, which is known when the log has ended."""
_OWN_BYTES = 2048
"""Reserved for the two lines that mark the gap."""


@dataclass(kw_only=True, slots=True)
class LogTruncator:
    """Lets the beginning of a log through, and its end when there is one."""

    note: Callable[[str], bytes]
    """Makes a line of the log from what is to be said of it."""
    most: int = MOST_LOG_BYTES
    last: int = LAST_LOG_BYTES
    elsewhere: str = ""
    """Where a person finds all of it."""
    shortened: bool = False
    """Whether there was more than may be let through at once."""
    _passed: int = 0
    _dropped: int = 0
    _held: deque[bytes] = field(default_factory=deque)
    _held_bytes: int = 0

    def take(self, lines: bytes) -> bytes:
        """Return what of these whole lines is to be kept now; the rest is held, the newest of it."""
        if not self.shortened and self._passed + len(lines) <= self.most - self.last:
            self._passed += len(lines)
            return lines
        parts = (self._one(line) for line in lines.splitlines(keepends=True))
        return b"".join(parts)

    def rest(self) -> bytes:
        """Return the end of the log, after how much is missing before it."""
        gap = self.note(f"{self._dropped:,} bytes of this log are left out here") if self._dropped else b""
        end = gap + b"".join(self._held)
        self._held.clear()
        self._held_bytes = self._dropped = 0
        return end

    def _one(self, line: bytes) -> bytes:
        if not self.shortened and self._passed + len(line) <= self.most - self.last:
            self._passed += len(line)
            return line
        announcement = b"" if self.shortened else self._announcement()
        self.shortened = True
        self._hold(line)
        return announcement

    def _hold(self, line: bytes) -> None:
        self._held.append(line)
        self._held_bytes += len(line)
        while self._held_bytes > self.last - _OWN_BYTES and len(self._held) > 1:
            dropped = len(self._held.popleft())
            self._held_bytes -= dropped
            self._dropped += dropped

    def _announcement(self) -> bytes:
        size = f"{(self.most - self.last) / (1 << 20):.3g} MiB"
        return self.note(
            f"this log is longer than {size}: of what follows, the end is kept, and stored when it has ended"
            f"{self.elsewhere}"
        )
