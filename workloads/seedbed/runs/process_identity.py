"""Process identity: whether a process of the same machine or job still lives."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

TURN_VARIABLE = "SEEDBED_TURN"
"""`<uid of the job's object>/<number>` where an operator starts drivers one after the other."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessIdentity:
    """A process of a machine since its boot; the start time excludes a later process of the same pid."""

    host: str
    boot: str
    """Boot id of the kernel, empty if it cannot be read."""
    namespace: str
    """PID namespace: containers of one host have different ones and cannot see each other's processes."""
    pid: int
    start: str
    """Start time in kernel ticks, empty if it cannot be read."""
    turn: str = ""
    """Value of SEEDBED_TURN; empty without an operator."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the process."""
        return asdict(self)

    @staticmethod
    def from_document(document: dict[str, Any]) -> ProcessIdentity:
        """Return the process of a JSON object."""
        return ProcessIdentity(**document)


def this_process() -> ProcessIdentity:
    """Return the identity of this process."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot=_boot(),
        namespace=_namespace(),
        pid=os.getpid(),
        start=_start_of(os.getpid()) or "",
        turn=os.environ.get(TURN_VARIABLE, ""),
    )


def is_known_dead(process: ProcessIdentity) -> bool:
    """Say whether a process is dead or was replaced by the operator; False if this machine cannot know."""
    here = this_process()
    if _had_an_earlier_turn(process, here):
        return True
    same_machine = (process.host, process.boot, process.namespace) == (here.host, here.boot, here.namespace)
    if not same_machine or not process.boot or not process.start:
        return False
    return _start_of(process.pid) != process.start


def _had_an_earlier_turn(process: ProcessIdentity, here: ProcessIdentity) -> bool:
    """Say whether the operator started this process after the other one, for the same job."""
    theirs, _, earlier = process.turn.rpartition("/")
    ours, _, number = here.turn.rpartition("/")
    comparable = bool(ours) and theirs == ours and earlier.isdecimal() and number.isdecimal()
    return comparable and int(earlier) < int(number)


def _boot() -> str:
    return _text(Path("/proc/sys/kernel/random/boot_id")) if sys.platform == "linux" else ""


def _namespace() -> str:
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def _start_of(pid: int) -> str | None:
    """Return the start time of a living process; None for one that is gone, or dead and not yet reaped."""
    stat = _text(Path(f"/proc/{pid}/stat"))
    if not stat:
        return None
    state, *rest = stat.rpartition(")")[2].split()
    return None if state in {"Z", "X"} else rest[18]


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
