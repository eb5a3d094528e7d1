"""The termination message of a driver pod: written where the kubelet reads it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from seedbed.runtime.pods.settings import TERMINATION_LOG
from seedbed_api.outcome import Outcome

logger = logging.getLogger(__name__)


def leave(environ: Mapping[str, str], outcome: Outcome) -> None:
    """Write the message; without one, the exit code and the output store say the same."""
    path = Path(environ.get("SEEDBED_TERMINATION_LOG", "") or TERMINATION_LOG)
    try:
        path.write_bytes(outcome.encode())
    except OSError as error:
        logger.warning("%s: the outcome was not written: %s", path, error.strerror)
