"""Child processes that end with this one, also when this one is killed by SIGKILL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_EXEC_TIED = """
import ctypes, os, signal, sys
if sys.platform == "linux":
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    if os.getppid() != int(sys.argv[1]):
        os._exit(1)
os.execv(sys.argv[2], sys.argv[2:])
"""


def start_tied(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Start a command that the kernel kills when the calling thread's process ends; output goes to `log`."""
    with log.open("wb") as output:
        return subprocess.Popen(
            tied_command(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def tied_command(command: Sequence[str]) -> list[str]:
    """Return the command such that the kernel kills it when the thread ends that starts it."""
    found = shutil.which(command[0])
    assert found is not None, f"no command {command[0]}"
    return [sys.executable, "-S", "-E", "-c", _EXEC_TIED, str(os.getpid()), found, *command[1:]]


def stop(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and wait for its end."""
    process.kill()
    process.wait(timeout=240)
