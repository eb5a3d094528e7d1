"""Pods of one attempt as plain processes of this machine: a driver that is the head, and workers that join it.

Each has its own folder for Ray; they share the address of the machine, so ports are free ones.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from seedbed_api.metric_names import Family
from seedbed_api.pod_contract.driver_messages import LiveProgress, Outcome, parse_outcome

UID = "0b1c2d3e-0000-4000-8000-000000000001"
PATIENCE_SECONDS = 400.0


@dataclass(kw_only=True)
class Pod:
    """One process in the place of a pod."""

    name: str
    process: subprocess.Popen[bytes]
    folder: Path

    def log(self) -> str:
        """Return what a person would see with kubectl logs."""
        return (self.folder / f"{self.name}.log").read_text(errors="replace")

    def ended(self, within: float = PATIENCE_SECONDS) -> int:
        """Wait for the end; return the exit code."""
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} goes on:\n{self.log()}") from None

    def terminate(self) -> None:
        """Do what the kubelet does first."""
        self.process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Do what the kubelet does last, or the kernel."""
        assert self.process.poll() is None, f"the victim lived:\n{self.log()}"
        self.process.kill()
        self.process.wait()


@dataclass(kw_only=True)
class AttemptPods:
    """The pods of one attempt."""

    manifest: dict[str, Any]
    folder: Path
    number: int = 1
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    expected: dict[str, str] = field(default_factory=dict)
    ports: tuple[int, int] = field(default_factory=lambda: (free_port(), free_port()))
    pods: list[Pod] = field(default_factory=list)

    def driver(self, **environment: str) -> Pod:
        """Start the driver."""
        expected = {f"SEEDBED_EXPECTED_{name}": value for name, value in self.expected.items()}
        own = {"SEEDBED_RAY_MODE": "head", "SEEDBED_TERMINATION_LOG": str(self._message)}
        return self._start("driver", f"digits-{self.number}-driver", own | expected | environment)

    def worker(self, index: int = 0, **environment: str) -> Pod:
        """Start a worker."""
        own = {"SEEDBED_RAY_ADDRESS": f"{address()}:{self.ports[0]}", "SEEDBED_RANKS": "1"}
        return self._start("worker", f"digits-{self.number}-worker-{index}", own | environment)

    def outcome(self) -> Outcome:
        """Return the termination message."""
        outcome = parse_outcome(self._message.read_bytes())
        assert outcome is not None, self._message.read_text()
        return outcome

    def progress(self) -> LiveProgress | None:
        """Return what the endpoint tells, None while there is none."""
        told = self._asked("/progress")
        return None if told is None else LiveProgress.model_validate_json(told)

    def metrics(self, family: Family) -> dict[str, float]:
        """Return the samples of a metric by the value of their last label."""
        page = (self._asked("/metrics") or b"").decode()
        found = {each.name: each for each in text_string_to_metric_families(page)}
        samples = found[family.base].samples if family.base in found else ()
        return {sample.labels[family.labels[-1]]: sample.value for sample in samples}

    def _asked(self, path: str) -> bytes | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[1], timeout=120)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            told = answer.read()
        except (OSError, http.client.HTTPException):  # not there yet, or not any more
            return None
        else:
            return told if answer.status == 200 else None
        finally:
            connection.close()

    def wait_for(self, what: Any, pod: Pod) -> LiveProgress:
        """Wait until a live progress satisfies `what`, while a pod lives."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            told = self.progress()
            if told is not None and what(told):
                return told
            assert pod.process.poll() is None, f"{pod.name} ended:\n{pod.log()}"
            assert time.monotonic() < deadline, f"last told: {told}\n{pod.log()}"
            time.sleep(0.05)

    @property
    def _message(self) -> Path:
        return self.folder / f"termination-{self.number}"

    def _start(self, role: str, name: str, own: dict[str, str]) -> Pod:
        home = self.folder / f"r{len(self.pods)}-{self.number}"
        home.mkdir()
        job = {**self.manifest, "metadata": {**self.manifest["metadata"], "uid": UID, "namespace": "tests"}}
        environment = {
            **clean_environment(),
            "SEEDBED_ROLE": role,
            "SEEDBED_JOB": json.dumps(job),
            "SEEDBED_ATTEMPT": str(self.number),
            "SEEDBED_DEVICE": "cpu",
            "SEEDBED_RAY_PORT": str(self.ports[0]),
            "SEEDBED_PROGRESS_PORT": str(self.ports[1]),
            "POD_NAME": name,
            "POD_IP": address(),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_TMPDIR": str(home),
            "TMPDIR": str(home),
            "GLOO_SOCKET_IFNAME": "lo",
            **own,
        }
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "seedbed.cli", role],
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        pod = Pod(name=name, process=process, folder=self.folder)
        self.pods.append(pod)
        return pod


@contextmanager
def attempts() -> Iterator[Any]:
    """Yield a maker of attempts, all of whose processes are gone in the end."""
    made: list[AttemptPods] = []
    # short, as in a pod, whatever TMPDIR is: Ray keeps sockets below it
    folder = Path(tempfile.mkdtemp(prefix="sb", dir="/tmp" if os.access("/tmp", os.W_OK) else None))

    def attempt(manifest: dict[str, Any], **arguments: Any) -> AttemptPods:
        made.append(AttemptPods(manifest=manifest, folder=folder, number=len(made) + 1, **arguments))
        return made[-1]

    try:
        yield attempt
    finally:
        for pod in (pod for each in made for pod in each.pods):
            if pod.process.poll() is None:
                pod.process.kill()
            pod.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def clean_environment() -> dict[str, str]:
    """Return this environment without what the tests' own Ray was given."""
    ours = ("RAY_", "GLOO_", "SEEDBED_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def free_port() -> int:
    """Return a port that nobody has, and that the kernel gives nobody who does not ask for it by its number."""
    lowest, _ = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    ports = range(min(20_000, lowest), lowest) or range(20_000, 32_000)
    for port in random.SystemRandom().sample(ports, len(ports)):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port
    raise AssertionError(f"no port of {ports} is free")


def address() -> str:
    """Return the address of this machine that others see; loopback where there is no network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return "127.0.0.1"
