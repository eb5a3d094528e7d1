"""What Ray's worker processes print goes to files of the node; here it is said where people look."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOOK_SECONDS = 0.5
_MOST_BYTES = 1 << 16
_MARKS = (b":job_id:", b":actor_name:", b":task_name:")
"""Lines by which Ray's own log monitor tells whose output follows."""


@contextmanager
def mirroring(folder: Path) -> Iterator[None]:
    """Print what the workers of a node print, each line with the process that said it."""
    mirror = Mirror(folder)
    over = threading.Event()

    def follow() -> None:
        while not over.wait(_LOOK_SECONDS):
            mirror.look()

    thread = threading.Thread(target=follow, name="seedbed-mirror", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        mirror.look()


class Mirror:
    """Follows `worker-*.out` and `worker-*.err` of a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def look(self) -> None:
        """Print the whole lines that are new."""
        for path in sorted(self._folder.glob("worker-*")):
            if path.suffix in (".out", ".err"):
                for line in self._new_lines(path):
                    sys.stdout.write(f"(pid={path.stem.rpartition('-')[2]}) {line}\n")
        sys.stdout.flush()

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
        return [line.decode(errors="replace") for line in lines]
