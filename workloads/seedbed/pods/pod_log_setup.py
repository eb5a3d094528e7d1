"""Whose records the log of a pod holds, and the logs of its process among them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping

from seedbed.logs.json_log import JsonLineEncoder, JsonLogFormatter
from seedbed_api.pod_contract import env_vars


def recorder_of(environ: Mapping[str, str]) -> JsonLineEncoder:
    """Return the recorder of this pod; an environment that is not ours leaves its fields out."""
    try:
        metadata = json.loads(environ.get(env_vars.JOB, ""))["metadata"]
    except (ValueError, KeyError, TypeError):
        metadata = {}
    attempt = environ.get(env_vars.ATTEMPT, "")
    context = {
        "namespace": metadata.get("namespace"),
        "job": metadata.get("name"),
        "attempt": int(attempt) if attempt.isdecimal() else None,
        "pod": environ.get(env_vars.POD_NAME),
    }
    return JsonLineEncoder(context={name: value for name, value in context.items() if value is not None})


def log_as_records() -> None:
    """Send this process's logs to stderr as records; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLogFormatter())
    logging.getLogger().handlers[:] = [handler]
    logging.getLogger("seedbed").setLevel(logging.INFO)
