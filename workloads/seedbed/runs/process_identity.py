"""Who runs: a process named so that another of the same machine or job can tell whether it still lives."""

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
    """A process of one machine since its boot; its start tells it from a later one of the same number."""

    host: str
    boot: str
    """Boot id of the kernel, empty where there is none to read."""
    namespace: str
    """PID namespace: two containers of one host have unlike ones, and cannot see each other's processes."""
    pid: int
    start: str
    """Start time in kernel ticks, empty where it cannot be read."""
    turn: str = ""
    """Whose turn it is, empty where nobody takes turns."""

    def document(self) -> dict[str, Any]:
        """Return the JSON object of the process."""
        return asdict(self)

    @staticmethod
    def from_document(document: dict[str, Any]) -> ProcessIdentity:
        """Return the process of a JSON object."""
        return ProcessIdentity(**document)


def this_process() -> ProcessIdentity:
    """Return the name of this process."""
    return ProcessIdentity(
        host=socket.gethostname(),
        boot=_boot(),
        namespace=_namespace(),
        pid=os.getpid(),
        start=_start_of(os.getpid()) or "",
        turn=os.environ.get(TURN_VARIABLE, ""),
    )


def is_known_dead(process: ProcessIdentity) -> bool:
    """Say whether a process is surely gone, or was given up; False also where this machine cannot tell."""
    here = this_process()
    if _had_an_earlier_turn(process, here):
        return True
    same_machine = (process.host, process.boot, process.namespace) == (here.host, here.boot, here.namespace)
    if not same_machine or not process.boot or not process.start:
        return False
    return _start_of(process.pid) != process.start


def _had_an_earlier_turn(process: ProcessIdentity, here: ProcessIdentity) -> bool:
    """Say whether whoever started us for the same job had given the process up before."""
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
