"""Output of Ray's workers: follow the files that Ray writes it to, and pass each line on as a record."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from seedbed.periodic_thread import PeriodicThread
from seedbed_api.json_log_lines import log_record

_LOOK_SECONDS = 0.5
_MOST_BYTES = 1 << 16
"""Read at most so many bytes of one process at a time."""
_LONGEST = 1 << 12
"""Characters; a longer line is split, so that its record is never cut."""
_LAST_READS = 256
_MARKS = (b":job_id:", b":actor_name:", b":task_name:")
"""Lines that Ray writes for its own log monitor."""

RecordSink = Callable[[Mapping[str, Any]], object]
"""Called with the fields of a record."""


def print_record(record: Mapping[str, Any]) -> None:
    """Say a record where the log of a pod is made."""
    print(json.dumps(record), flush=True)  # noqa: T201 - the log of the pod


@contextmanager
def follow_worker_output(
    folder: Path, say: RecordSink = print_record, *, every: float = _LOOK_SECONDS
) -> Iterator[None]:
    """Say what the workers of a node print, each line with the process that said it, in field `pid`."""
    follower = WorkerOutputFollower(folder, say)
    thread = PeriodicThread(follower.read_new_lines, seconds=every, name="seedbed-worker-output")
    thread.start()
    try:
        yield
    finally:
        thread.stop()
        for _ in range(_LAST_READS):
            if not follower.read_new_lines():
                break


class WorkerOutputFollower:
    """Follows `worker-*.out` and `worker-*.err` of a folder."""

    def __init__(self, folder: Path, say: RecordSink = print_record) -> None:
        self._folder, self._say = folder, say
        self._read: dict[Path, int] = {}

    def read_new_lines(self) -> bool:
        """Say the whole lines that are new; return whether there were any."""
        found = [
            log_record(line, {"pid": _pid(path)})
            for path in sorted(self._folder.glob("worker-*"))
            if path.suffix in (".out", ".err")
            for line in self._new_lines(path)
        ]
        for record in found:
            self._say(record)
        return bool(found)

    def _new_lines(self, path: Path) -> list[str]:
        try:
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                data = file.read(_MOST_BYTES)
        except OSError:  # rotated away
            return []
        whole = data if len(data) == _MOST_BYTES else data[: data.rfind(b"\n") + 1]
        self._read[path] = self._read.get(path, 0) + len(whole)
        lines = (line for line in whole.splitlines() if line and not line.startswith(_MARKS))
        return [part for line in lines for part in _parts(line.decode(errors="replace"))]


def _pid(path: Path) -> int | str:
    """Return whose file it is: `worker-<id>-<job>-<pid>`."""
    pid = path.stem.rpartition("-")[2]
    return int(pid) if pid.isdecimal() else pid


def _parts(line: str) -> Iterator[str]:
    return (line[begin : begin + _LONGEST] for begin in range(0, len(line), _LONGEST))
