"""What the servers of object stores offer to tests, whatever their kind."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from testbed.children import stop

START_SECONDS = 240


class StoreServer(Protocol):
    """A running server; buckets are fresh ones."""

    endpoint: str

    def bucket(self) -> str:
        """Create a bucket and return its URL."""

    def through(self, url: str, endpoint: str) -> str:
        """Return the URL that leads through a proxy, where it names the server."""

    def environment(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the usual variables for this server, or for a proxy in front of it."""

    def secret(self, folder: Path, *, endpoint: str | None = None) -> Path:
        """Write them as a secret folder and return it."""


def write_secret(folder: Path, values: dict[str, str]) -> Path:
    """Write a secret folder, a file per key."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in values.items():
        (folder / name).write_text(value + "\n")
    return folder


def await_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path) -> None:
    """Wait until a server is ready; RuntimeError with its last words where it ends before or does not get so."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        if ready():
            return
        time.sleep(0.05)
    stop(process)
    raise RuntimeError(f"{process.args!r} did not start: {log.read_text(errors='replace')[-500:]}")


def answers(url: str) -> bool:
    """Say whether a server answers anything at a URL."""
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False


def ask(method: str, url: str, data: bytes | None = None, headers: dict[str, str] | None = None) -> bytes:
    """Send a request to a server of the tests and return the answer."""
    request = urllib.request.Request(url, data=data, method=method, headers=headers or {})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return bytes(answer.read())
