"""A real S3 server (versitygw over a folder) on a free loopback port, with credentials of its own."""

from __future__ import annotations

import itertools
import os
import secrets
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from testbed.builds import VERSITYGW, built
from testbed.children import start_tied, stop

REGION = "us-east-1"
_NUMBERS = itertools.count()


@dataclass(frozen=True, kw_only=True, slots=True)
class Gateway:
    """A running S3 server; buckets are folders below `root`."""

    endpoint: str
    root: Path
    """Holds one folder per bucket, objects as files: a test may damage them."""
    access_key: str
    secret_key: str = field(repr=False)

    def bucket(self) -> str:
        """Create a fresh bucket and return its URL."""
        name = f"bucket-{os.getpid()}-{next(_NUMBERS)}"
        (self.root / name).mkdir()
        return f"s3://{name}"

    def environment(self, *, endpoint: str | None = None) -> dict[str, str]:
        """Return the usual AWS variables for this server, or for a proxy in front of it."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL": endpoint or self.endpoint,
            "AWS_DEFAULT_REGION": REGION,
        }

    def secret(self, folder: Path, **overrides: str) -> Path:
        """Write a secret folder for this server, some values replaced, and return it."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, value in {**self.environment(), **overrides}.items():
            (folder / name).write_text(value + "\n")
        return folder


@contextmanager
def running_gateway(folder: Path) -> Iterator[Gateway]:
    """Run a server over `folder`; `ToolMissing` where it cannot be built."""
    binary = built(VERSITYGW)
    for name in ("root", "iam"):
        (folder / name).mkdir(parents=True)
    for _ in range(3):  # the free port may be taken between the look and the use
        gateway = Gateway(
            endpoint=f"http://127.0.0.1:{free_port()}",
            root=folder / "root",
            access_key="testbed",
            secret_key=secrets.token_hex(16),
        )
        process = _start(binary, gateway, folder)
        if _answers_soon(process, gateway):
            break
        stop(process)
    else:
        raise RuntimeError(f"versitygw did not start: {(folder / 'log').read_text()[-500:]}")
    try:
        yield gateway
    finally:
        stop(process)


def free_port() -> int:
    """Return a loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def gateway_command(binary: Path, gateway: Gateway, folder: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command line and the environment of a server that listens at the gateway's endpoint."""
    address = gateway.endpoint.removeprefix("http://")
    options = ["--port", address, "--region", REGION, "--health", "/healthz", "--quiet", "--keep-alive"]
    keys = {"ROOT_ACCESS_KEY": gateway.access_key, "ROOT_SECRET_KEY": gateway.secret_key}
    command = [str(binary), *options, "--iam-dir", str(folder / "iam"), "posix", str(gateway.root)]
    return command, {**os.environ, **keys}


def answers(gateway: Gateway) -> bool:
    """Say whether a server answers there."""
    try:
        with urllib.request.urlopen(f"{gateway.endpoint}/healthz", timeout=1):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _start(binary: Path, gateway: Gateway, folder: Path) -> subprocess.Popen[bytes]:
    command, environment = gateway_command(binary, gateway, folder)
    return start_tied(command, environment=environment, log=folder / "log")


def _answers_soon(process: subprocess.Popen[bytes], gateway: Gateway) -> bool:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if answers(gateway):
            return True
        time.sleep(0.02)
    return False
