"""Start and end of a part of a program, and the memory of its process.

The parent samples CPU seconds, because Ray does not wait for its workers and theirs are lost when they end.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

_TICK_SECONDS = 0.2


class Stretch:
    """A part of a program; filled when it ends."""

    def __init__(self) -> None:
        self.began = self.ended = 0.0
        """By the clock of the machine."""
        self.resident = 0
        """Most bytes that this process held, the rest of its tree left out."""
        self.private = 0
        """The same without what is mapped from files, as the libraries are."""

    def note_memory(self) -> None:
        """Look at this process once more."""
        page = os.sysconf("SC_PAGE_SIZE")
        resident, mapped = map(int, Path("/proc/self/statm").read_text().split()[1:3])
        self.resident = max(self.resident, resident * page)
        self.private = max(self.private, (resident - mapped) * page)


@contextmanager
def measured() -> Iterator[Stretch]:
    """Measure what is done inside."""
    stretch, over = Stretch(), threading.Event()

    def watch() -> None:
        while not over.wait(_TICK_SECONDS):
            stretch.note_memory()

    watcher = threading.Thread(target=watch, daemon=True)
    stretch.began = time.time()
    watcher.start()
    try:
        yield stretch
    finally:
        stretch.ended = time.time()
        over.set()
        watcher.join()
        stretch.note_memory()


def tell(stretch: Stretch, **figures: Any) -> None:
    """Print the figures as the last line."""
    figures |= {"began": stretch.began, "ended": stretch.ended, "resident": stretch.resident}
    figures["private"] = stretch.private
    print(json.dumps(figures), flush=True)


@contextmanager
def only_figures_on_stdout() -> Iterator[None]:
    """Send everything else that is printed to stderr."""
    with redirect_stdout(sys.stderr):
        yield
