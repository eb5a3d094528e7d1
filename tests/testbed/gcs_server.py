"""A real server of Google's storage API (fake-gcs-server, objects in memory) on a free loopback port.

It asks for no credentials; what refuses them in tests is a token server (`testbed.token_server`).
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from testbed.builds import GCS_SERVER, built
from testbed.children import start_tied, stop
from testbed.gateway import free_port
from testbed.store_server import answers, ask, await_ready, write_secret

_NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class GcsServer:
    """A running server."""

    endpoint: str

    def bucket(self) -> str:
        """Create a fresh bucket and return its URL."""
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
        body, headers = json.dumps({"name": name}).encode(), {"Content-Type": "application/json"}
        ask("POST", f"{self.endpoint}/storage/v1/b?project=tests", body, headers)
        return f"gs://{name}"

    def through(self, url: str, endpoint: str) -> str:
        """Return the URL as it is: the environment names the server."""
        del endpoint
        return url

    def environment(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the usual variable for this server, or for a proxy in front of it."""
        return {"STORAGE_EMULATOR_HOST": endpoint or self.endpoint}

    def secret(self, folder: Path, *, endpoint: str | None = None) -> Path:
        """Write a secret folder for this server and return it."""
        return write_secret(folder, self.environment(endpoint=endpoint))


@contextmanager
def running_gcs(folder: Path) -> Iterator[GcsServer]:
    """Run a server whose log is in `folder`; `ToolMissing` where it cannot be built."""
    binary, port = built(GCS_SERVER), free_port()
    place = f"127.0.0.1:{port}"
    options = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", place]
    command = [str(binary), *options, "-backend", "memory", "-log-level", "error"]
    process = start_tied(command, environment=os.environ, log=folder / "log")
    await_ready(process, lambda: answers(f"http://{place}/_internal/healthcheck"), folder / "log")
    try:
        yield GcsServer(endpoint=f"http://{place}")
    finally:
        stop(process)
