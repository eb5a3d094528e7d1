"""JSON log lines: one object per line, and its format for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from seedbed_api.strict_json import parse_json

MESSAGE = "message"
_ERROR = re.compile(r"error:|Traceback |(\w+\.)*\w*(Error|Exception)(:|$)")
"""Beginnings of lines that report an error: ours, and those of a traceback."""


def parse_log_line(line: str) -> dict[str, Any] | None:
    """Return the fields of a structured line; None where it is plain text."""
    if not line.startswith("{"):
        return None
    try:
        fields = parse_json(line)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) and isinstance(fields.get(MESSAGE), str) else None


def format_log_line(line: str) -> str:
    """Return a line for people: time, level unless info, process of a rank, message."""
    fields = parse_log_line(line)
    if fields is None:
        return line
    time = str(fields.get("time", "")).partition("T")[2][:8]
    level = str(fields.get("level", "info"))
    words = [
        time,
        "" if level == "info" else level.upper(),
        f"(pid={fields['pid']})" if "pid" in fields else "",
        fields[MESSAGE],
        str(fields.get("stack", "")),
    ]
    return " ".join(word for word in words if word)


def log_record(line: str, context: Mapping[str, Any]) -> dict[str, Any]:
    """Return a line as an object; its own fields win over those of the context."""
    fields = parse_log_line(line)
    if fields is None:
        level = "error" if _ERROR.match(line) else "info"
        fields = {"level": level, MESSAGE: line}
    return {**context, **fields}
