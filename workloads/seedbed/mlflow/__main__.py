"""The process with the MLflow client: reads an entry per line of stdin, writes an answer per line to stdout.

It exits when stdin ends, also during a request; the next process asks the server what is missing.
"""

from __future__ import annotations

import json
import os
import queue
import resource
import signal
import sys
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from seedbed.mlflow.mlflow_entries import entry_from_line
from seedbed.mlflow.mlflow_settings import URI

if TYPE_CHECKING:
    from seedbed.mlflow.server_sync import ServerSync

_NICE = 5
_GROWTH_BYTES = 1 << 29
"""How much memory an answer of the server may take: a library reads it, whatever its size."""


def main() -> None:
    """Answer until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the driver handles them and may send a last entry
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    answers = _stdout()
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        error = _sync_error(lines.get())
        print(json.dumps({"error": error}), file=answers, flush=True)


@cache
def _server_sync() -> ServerSync:
    from mlflow import MlflowClient

    from seedbed.mlflow.server_sync import ServerSync

    _bound_memory()
    return ServerSync(MlflowClient(tracking_uri=os.environ[URI]))


def _sync_error(line: str) -> str | None:
    """Sync an entry; return the error as text, of whatever kind it is."""
    try:
        _server_sync().sync(entry_from_line(line))
    except Exception as error:
        if _is_of_memory(error):
            return f"MemoryError: an answer of the server takes more than {_GROWTH_BYTES:,} bytes"
        return f"{type(error).__name__}: {error}"
    return None


def _is_of_memory(error: BaseException | None) -> bool:
    """Say whether memory ran out, also where the library tells it in its own words."""
    return isinstance(error, MemoryError) or (
        error is not None and _is_of_memory(error.__cause__ or error.__context__)
    )


def _bound_memory() -> None:
    """Allow so much data beyond what the libraries took.

    Data, not address space: glibc reserves 64 MiB of that for each thread and uses little of it.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    most = pages * resource.getpagesize() + _GROWTH_BYTES
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(
        resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )


def _stdout() -> TextIO:
    """Return a stream to the driver; output of libraries goes to /dev/null."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return answers


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
