"""Where files lie: mount paths and file names in a pod, and the layout of logs in the output store."""

from __future__ import annotations

import re
from typing import Final

SECRETS: Final = "/etc/seedbed/secrets"
DATASET_SECRET: Final = "dataset"
OUTPUT_SECRET: Final = "output"
"""Folders below SECRETS, one per Secret that the job names; their files are the keys of the Secret."""
OWNER_SECRET: Final = "owner"
"""Folder below SECRETS of the key with which a namespace marks what it writes into output stores."""
CLAIMS: Final = "/mnt/pvc"
"""pvc://claim/path is CLAIMS/claim/path in a pod."""
CACHE: Final = "/var/cache/seedbed"
TERMINATION_LOG: Final = "/dev/termination-log"
"""The kubelet takes the termination message from this file."""

_LOGS: Final = "logs"
LOG_PIECE_PATH: Final = re.compile(
    rf"{_LOGS}/(?P<uid>[^/]+)/(?P<attempt>\d+)/(?P<pod>[^/]+)/(?P<piece>\d+)\.log"
)
"""Path of a piece of a log below the output."""


def job_logs_path(uid: str | None = None) -> str:
    """Return the folder, below the output, of the logs of a job, or of all jobs.

    The uid is that of the job's object; of a run or sweep on one machine, its name.
    """
    return f"{_LOGS}/{uid}" if uid else _LOGS


def pod_log_path(uid: str, attempt: int, pod: str) -> str:
    """Return the folder, below the output, of the pieces of one pod's log."""
    return f"{job_logs_path(uid)}/{attempt}/{pod}"


def log_piece_name(number: int) -> str:
    """Return the file name of a piece of a log, the first being 0."""
    return f"{number:06d}.log"
