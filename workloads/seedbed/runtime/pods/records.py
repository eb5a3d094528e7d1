"""The log of a pod as lines of JSON, whoever speaks: the driver, Ray, a library, the user's code.

Each line knows its job, attempt, pod and the newest step that was told of.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from seedbed_api.loglines import structured

LONGEST_LINE = 1 << 15
"""Bytes; a longer line is told in parts."""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(kw_only=True, slots=True)
class Recorder:
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

    def _record(self, line: bytes) -> bytes:
        text = line.decode(errors="replace").rstrip("\r")
        if not text.strip():
            return b""
        fields = structured(text, {"time": self.clock(), **self.context})
        if "step" in fields:
            self.context["step"] = fields["step"]
        return json.dumps(fields).encode() + b"\n"


def recorder_of(environ: Mapping[str, str]) -> Recorder:
    """Return the recorder of this pod; an environment that is not ours leaves its fields out."""
    try:
        metadata = json.loads(environ.get("SEEDBED_JOB", ""))["metadata"]
    except (ValueError, KeyError, TypeError):
        metadata = {}
    attempt = environ.get("SEEDBED_ATTEMPT", "")
    context = {
        "namespace": metadata.get("namespace"),
        "job": metadata.get("name"),
        "attempt": int(attempt) if attempt.isdecimal() else None,
        "pod": environ.get("POD_NAME"),
    }
    return Recorder(context={name: value for name, value in context.items() if value is not None})


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields = {"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            fields["stack"] = self.formatException(record.exc_info)
        return json.dumps(fields)


def log_as_records() -> None:
    """Send this process's logs to stderr as records; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("seedbed").setLevel(logging.INFO)
