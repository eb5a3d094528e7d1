"""Client of the process with MLflow: it sends entries, never raises, and waits for a limited time only."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading

from seedbed.mlflow.mlflow_entries import RunEntry
from seedbed.mlflow.mlflow_settings import MlflowSettings

_COMMAND = (sys.executable, "-m", "seedbed.mlflow")


class SubprocessClient:
    """Sends entries one after the other; of two waiting entries of a run only the later one."""

    def __init__(self, settings: MlflowSettings) -> None:
        self.settings = settings
        self.error: str | None = None
        """Why the last entry failed; None where it did not."""
        self._owner = os.getpid()
        self._waiting: dict[str, RunEntry] = {}
        self._busy = self._closing = False
        self._condition = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        threading.Thread(target=self._work, name="seedbed-mlflow", daemon=True).start()

    def is_for(self, settings: MlflowSettings) -> bool:
        """Return whether this client, in this process, has these settings."""
        return self.settings == settings and self._owner == os.getpid()

    def send(self, entry: RunEntry) -> None:
        """Send an entry soon."""
        with self._condition:
            self._waiting[json.dumps([entry.experiment, entry.key])] = entry
            self._condition.notify_all()

    def wait_until_sent(self, *, patience: float) -> bool:
        """Wait until everything is sent, at most for `patience` seconds; return whether it is."""
        with self._condition:
            return self._condition.wait_for(lambda: not self._waiting and not self._busy, timeout=patience)

    def close_when_sent(self) -> None:
        """Close the client once everything is sent."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()

    def _work(self) -> None:
        while (entry := self._next()) is not None:
            error = self._exchange(entry)
            with self._condition:
                self.error, self._busy = error, False
                self._condition.notify_all()
        self._end_process()

    def _next(self) -> RunEntry | None:
        with self._condition:
            self._condition.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            self._busy = True
            return self._waiting.pop(next(iter(self._waiting)))

    def _exchange(self, entry: RunEntry) -> str | None:
        """Send one entry to the process; return its error."""
        try:
            process = self._process = self._process or self._start_process()
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(f"{entry.line()}\n")
            process.stdin.flush()
            answer = process.stdout.readline()
            error = json.loads(answer)["error"] if answer else f"its process ended ({process.wait()})"
        except (OSError, ValueError) as failure:
            answer, error = "", f"{type(failure).__name__}: {failure}"
        if not answer:
            self._end_process()
        return None if error is None else self.settings.plain(error)

    def _start_process(self) -> subprocess.Popen[str]:
        """Start the process, which exits when its stdin ends."""
        return subprocess.Popen(
            _COMMAND,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # the answer holds the error; libraries repeat it in many lines
            env=dict(self.settings.environ),
            text=True,
        )

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for pipe in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):  # the process has ended
                assert pipe is not None
                pipe.close()
        process.wait()


_lock = threading.Lock()
_clients: list[SubprocessClient] = []
"""The client of this process, once it has one."""


def shared_client(settings: MlflowSettings) -> SubprocessClient:
    """Return the client of this process; one of another server closes once it has sent everything."""
    with _lock:
        if not _clients or not _clients[-1].is_for(settings):
            for other in _clients:
                other.close_when_sent()
            _clients[:] = [SubprocessClient(settings)]
        return _clients[-1]
