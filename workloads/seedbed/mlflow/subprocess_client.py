"""Handing entries to the process that talks to the server: it never raises, nor waits longer than told."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading

from seedbed.mlflow.mlflow_entries import Entry
from seedbed.mlflow.mlflow_settings import Tracking

_COMMAND = (sys.executable, "-m", "seedbed.mlflow")


class Courier:
    """Brings entries one after the other; of two about the same run that wait, the later one."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking
        self.trouble: str | None = None
        """Why the last entry was not taken; None where it was."""
        self._owner = os.getpid()
        self._waiting: dict[str, Entry] = {}
        self._busy = self._left = False
        self._changed = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        threading.Thread(target=self._work, name="seedbed-mlflow", daemon=True).start()

    def serves(self, tracking: Tracking) -> bool:
        """Say whether it is this process that talks to such a server."""
        return self.tracking == tracking and self._owner == os.getpid()

    def tell(self, entry: Entry) -> None:
        """Have an entry brought, some time soon."""
        with self._changed:
            self._waiting[json.dumps([entry.experiment, entry.key])] = entry
            self._changed.notify_all()

    def settle(self, *, patience: float) -> bool:
        """Wait until everything was brought, so many seconds at most; say whether it was."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, timeout=patience)

    def leave(self) -> None:
        """End, once everything was brought."""
        with self._changed:
            self._left = True
            self._changed.notify_all()

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            trouble = self._bring(entry)
            with self._changed:
                self.trouble, self._busy = trouble, False
                self._changed.notify_all()
        self._end()

    def _next(self) -> Entry | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._left)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.pop(next(iter(self._waiting)))

    def _bring(self, entry: Entry) -> str | None:
        """Return why an entry was not taken."""
        try:
            process = self._process = self._process or self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{entry.line()}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            trouble = json.loads(answer)["trouble"] if answer else f"its process ended ({process.wait()})"
        except (OSError, ValueError) as error:
            answer, trouble = "", f"{type(error).__name__}: {error}"
        if not answer:
            self._end()
        return None if trouble is None else self.tracking.plain(trouble)

    def _started(self) -> subprocess.Popen[str]:
        """Start the process; it ends when nobody writes to it any more."""
        return subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # what matters is the answer; libraries tell it in many lines
            env=dict(self.tracking.environ),
            text=True,
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # what nobody reads any more
                assert pipe is not None
                pipe.close()
        process.wait()


_lock = threading.Lock()
_couriers: list[Courier] = []
"""The one of this process, once it has one."""


def courier_to(tracking: Tracking) -> Courier:
    """Return the courier of this process; one that was for another server is left to end what it does."""
    with _lock:
        if not _couriers or not _couriers[-1].serves(tracking):
            for other in _couriers:
                other.leave()
            _couriers[:] = [Courier(tracking)]
        return _couriers[-1]
