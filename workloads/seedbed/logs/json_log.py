"""Log lines as JSON, from any source: the driver, Ray, a library, the user's code.

Each line knows its job, attempt, process and the newest reported step.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seedbed_api.json_log_lines import log_record
from seedbed_api.printable_text import without_credentials

QUOTED_FIELDS = "quoted"
"""Attribute of a log record: the fields of who is quoted, which count more than those of who quotes."""
LONGEST_LINE = 1 << 15
"""Bytes; a longer line is split."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(kw_only=True, slots=True)
class JsonLineEncoder:
    """Turns what a program writes into records, line by line."""

    context: dict[str, Any]
    clock: Callable[[], str] = _now
    _rest: bytes = b""

    def take(self, data: bytes) -> bytes:
        """Return the records of the lines that are whole now."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LONGEST_LINE:
            lines.append(self._rest[:LONGEST_LINE])
            self._rest = self._rest[LONGEST_LINE:]
        return b"".join(map(self._record, lines))

    def last(self) -> bytes:
        """Return the record of a last line without an end."""
        rest, self._rest = self._rest, b""
        return self._record(rest) if rest else b""

    def note(self, text: str) -> bytes:
        """Return the record of what is said of the log itself; a line that has begun stays where it is."""
        return self._record(text.encode())

    def _record(self, line: bytes) -> bytes:
        text = line.decode(errors="replace").rstrip("\r")
        if not text.strip():
            return b""
        fields = log_record(text, {"time": self.clock(), **self.context})
        if "step" in fields:
            self.context["step"] = fields["step"]
        return json.dumps(fields).encode() + b"\n"


class JsonLogFormatter(logging.Formatter):
    """What is logged, as a record."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        message = without_credentials(record.getMessage())
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": message}
        if record.exc_info:
            fields["stack"] = without_credentials(self.formatException(record.exc_info))
        return json.dumps(fields | getattr(record, QUOTED_FIELDS, {}))
