"""Logging: text lines or JSON lines on stderr; libraries from WARNING on."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Literal

from seedbed_api.printable_text import on_one_line, without_credentials
from seedbed_operator.reconciler.workqueue import current_job

_WARNING_ONLY = ("kopf", "aiohttp", "kubernetes", "asyncio")


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return time, level, job and message in one line."""
        job = current_job.get()
        about = f"{job.kind} {job.namespace}/{job.name}: " if job else ""
        time = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        return f"{time} {record.levelname.lower():<7} {about}{_message(record)}"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return a line of JSON; the stack of an unexpected error is a field of it."""
        job = current_job.get()
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        if job is not None:
            line |= {"namespace": job.namespace, "job": job.name, "kind": job.kind}
        if (attempt := getattr(record, "attempt", None)) is not None:
            line["attempt"] = attempt
        if record.exc_info:
            line["stack"] = without_credentials(self.formatException(record.exc_info))
        return json.dumps(line)


def _message(record: logging.LogRecord) -> str:
    """Return the message in one line, with the place of the error where there is one."""
    message = " ".join(record.getMessage().split())
    trace = record.exc_info[2] if record.exc_info else None
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})" if trace is not None else ""
    return on_one_line(without_credentials(message)) + place


def _is_relevant(record: logging.LogRecord) -> bool:
    """Drop kopf's line for every retry of a watch, and its line on signals.

    Relists and reconciles report that the API server is away; the operator handles signals.
    """
    message = str(record.msg)
    return not (
        record.name.startswith("kopf") and message.startswith(("Request attempt", "OS signals are ignored"))
    )


def configure_logging(log_format: Literal["json", "text"]) -> None:
    """Send all logs to stderr in the chosen format."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if log_format == "json" else _TextFormatter())
    handler.addFilter(_is_relevant)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    for name in _WARNING_ONLY:
        logging.getLogger(name).setLevel(logging.WARNING)
