"""The last steps of a pod, also of one ended by a signal: termination message and rest of the log."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.driver_messages import Outcome

_COUNTERS = ("memory.events", "memory/memory.oom_control")
"""Files of cgroups v2 and v1 with the count of OOM kills of this container."""


def oom_kills(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return how many processes the kernel killed for memory; 0 without a cgroup."""
    for name in _COUNTERS:
        try:
            lines = (root / name).read_text().splitlines()
        except OSError:
            continue
        counts = [line.split() for line in lines]
        return sum(int(fields[1]) for fields in counts if fields[:1] == ["oom_kill"])
    return 0


logger = logging.getLogger(__name__)


def write_termination_message(environ: Mapping[str, str], outcome: Outcome) -> None:
    """Write the message; a failure is logged, since exit code and output store hold the same."""
    path = termination_log(environ)
    try:
        path.write_bytes(outcome.encode())
    except OSError as error:
        logger.warning("%s: the termination message was not written: %s", path, error.strerror)


def on_driver_exit(number: int, spool: Path) -> None:
    """Write the message of a driver that a signal ended, and upload the rest of its log."""
    path = termination_log(os.environ)
    if number and (not path.exists() or not path.stat().st_size):
        write_termination_message(
            os.environ, outcome_of_signal(number, attempt=os.environ.get(env_vars.ATTEMPT, ""))
        )
    on_worker_exit(number, spool)


def on_worker_exit(number: int, spool: Path) -> None:
    """Upload the rest of the log in one try: the pod is ending."""
    from seedbed.logs.log_upload import spool_reader, stored_bytes, upload_new_pieces
    from seedbed.pods.pod_log import log_folder
    from seedbed.pods.pod_settings import pod_settings

    try:
        folder = log_folder(pod_settings(os.environ))
        upload_new_pieces(spool_reader(spool), folder, uploaded=stored_bytes(folder))
    except (SeedbedError, OSError) as error:
        if number or not isinstance(error, UserError):  # the program has reported wrong settings itself
            logger.warning("the end of the log is not uploaded: %s", error)


def outcome_of_signal(number: int, *, attempt: str) -> Outcome:
    """Return the outcome of an attempt whose driver a signal ended."""
    name = signal.Signals(number).name
    which = int(attempt) if attempt.isdecimal() else 0
    if number == signal.SIGTERM:
        message = "the driver was stopped before the training started"
        return Outcome(result="Stopped", reason="Stopped", message=message, attempt=which)
    if number == signal.SIGKILL and oom_kills():
        message = "the kernel killed the driver for memory; give the driver more in its profile"
        return Outcome(result="Failed", reason="OutOfMemory", message=message, attempt=which)
    return Outcome(
        result="Failed", reason="DriverCrashed", message=f"the driver was ended by {name}", attempt=which
    )


def termination_log(environ: Mapping[str, str]) -> Path:
    """Return the file from which the kubelet takes the termination message."""
    return Path(environ.get(env_vars.TERMINATION_LOG, "") or paths.TERMINATION_LOG)
