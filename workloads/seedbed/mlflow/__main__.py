"""The process that talks to the server: entries by lines of stdin, an answer to each by a line of stdout.

It ends with the one who writes to it, in the midst of what it does: that is asked of the server next time.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from functools import cache
from typing import TYPE_CHECKING, TextIO

from seedbed.mlflow.mlflow_entries import entry_from_line
from seedbed.mlflow.mlflow_settings import URI

if TYPE_CHECKING:
    from seedbed.mlflow.server_sync import ServerSync

_NICE = 5


def main() -> None:
    """Answer until stdin ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # meant for the driver, which has something to say then
        signal.signal(number, signal.SIG_IGN)
    os.nice(_NICE)
    answers = _stdout()
    lines: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    while True:
        trouble = _trouble(lines.get())
        print(json.dumps({"trouble": trouble}), file=answers, flush=True)


@cache
def _bookkeeper() -> ServerSync:
    from mlflow import MlflowClient

    from seedbed.mlflow.server_sync import ServerSync

    return ServerSync(MlflowClient(tracking_uri=os.environ[URI]))


def _trouble(line: str) -> str | None:
    """Return why an entry could not be brought; whatever it was, it is told and not raised."""
    try:
        _bookkeeper().sync(entry_from_line(line))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _stdout() -> TextIO:
    """Return what leads to the driver; what libraries print is not for it."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return answers


def _read(lines: queue.Queue[str]) -> None:
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


if __name__ == "__main__":
    main()
