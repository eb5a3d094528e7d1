"""The program of a worker pod: a node of the driver's Ray, as long as the driver needs it."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

from seedbed.logs.ray_worker_output import follow_worker_output, print_record
from seedbed.pods.driver_endpoint import POLL_SECONDS
from seedbed.pods.pod_log import upload_pod_log
from seedbed.pods.pod_settings import WorkerSettings
from seedbed.pods.ray_node import start_with_retries
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.ray_cluster.local_ray import object_store_bytes
from seedbed.ray_cluster.ray_nodes import RayNode
from seedbed.ray_cluster.stop_signals import stop_by_signal
from seedbed.runs.process_identity import TURN_VARIABLE
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_endpoint import NEEDED_PATH
from seedbed_api.strict_json import parse_json

LOST_SECONDS = 10.0
"""After so long without an answer the driver counts as lost."""
_LOST = f"the driver has not answered for {LOST_SECONDS:.0f} s and counts as lost"
_JOIN_SECONDS = 1.0
_MOST_ANSWER_BYTES = 1 << 16
_JOIN_TRIES = 10
_DRAIN_SECONDS = 20.0


def run_worker_pod(environ: Mapping[str, str], spool: Path) -> int:
    """Run the node of one worker pod; return its exit code."""
    stopping = stop_by_signal()
    settings = WorkerSettings.from_env(environ)
    os.environ[TURN_VARIABLE] = settings.turn  # trials run in processes of this node
    with upload_pod_log(spool, settings):
        return _run(settings, stopping)


def _run(settings: WorkerSettings, stopping: threading.Event) -> int:
    head = DriverClient(settings)
    if not head.wait_until_listening(stopping):
        return ExitCode.STOPPED
    if head.is_needed() is False:
        return ExitCode.DONE
    node = _join_ray(settings, head, stopping)
    if node is None:
        return ExitCode.STOPPED
    try:
        with follow_worker_output(
            node.log_folder, lambda record: print_record(head.log_context | dict(record))
        ):
            return _run_until_released(node, head, stopping)
    finally:
        node.kill()


def _join_ray(settings: WorkerSettings, head: DriverClient, stopping: threading.Event) -> RayNode | None:
    """Start the node, with retries while the head is not up; None when a stop is requested."""

    def start() -> RayNode:
        head.check(stopping)  # without it Ray tries to join for minutes
        return _start_node(settings)

    try:
        node = start_with_retries(start, tries=_JOIN_TRIES, pause=_JOIN_SECONDS, stopping=stopping)
    except StopRequested:
        return None
    _log(f"joined {settings.ray_address} with room for {settings.ranks} ranks")
    return node


def _start_node(settings: WorkerSettings) -> RayNode:
    return RayNode(
        address=settings.ray_address,
        ip=settings.pod_ip,
        name=settings.pod_name,
        cpus=settings.ranks,
        gpus=settings.ranks * max(1, settings.gpus) if settings.device == "cuda" else 0,
        object_store_bytes=object_store_bytes(),
        end_at_exit=False,
        own_temp_folder=True,
    )


def _run_until_released(node: RayNode, head: DriverClient, stopping: threading.Event) -> int:
    """Wait until this node is released; return the exit code."""
    while not stopping.wait(POLL_SECONDS):
        answer = head.is_needed()
        if answer is False:
            _log("the driver has ended; this worker ends too")
            return ExitCode.DONE
        if node.has_dead_processes():
            _log("a process of Ray on this node ended")
            return ExitCode.DONE if head.is_needed() is False else ExitCode.INFRASTRUCTURE
        if answer is None and head.seconds_since_contact() > LOST_SECONDS:
            _log(_LOST)
            return ExitCode.INFRASTRUCTURE
    _drain(node)
    return ExitCode.STOPPED


def _drain(node: RayNode) -> None:
    """Announce that this node ends; the group saves a checkpoint and leaves it, then Ray ends the node."""
    node.drain(seconds=_DRAIN_SECONDS, message="the pod must end")
    _log("stop requested; the worker group saves a checkpoint and leaves this node")
    node.wait_for_end(seconds=_DRAIN_SECONDS)


class DriverClient:
    """Asks the driver every second whether it still needs this worker."""

    def __init__(self, settings: WorkerSettings) -> None:
        host, _, port = settings.ray_address.rpartition(":")
        self._host, self._ray_port = host.strip("[]"), int(port)
        self._port, self._pod = settings.progress_port, settings.pod_name
        self._proof = {"Authorization": f"Bearer {settings.token}"}
        self._last_contact = time.monotonic()
        self.log_context: dict[str, Any] = {}
        """Fields added to each log line of a rank: the step of the training."""

    def wait_until_listening(self, stopping: threading.Event) -> bool:
        """Wait until the head listens, whose name may not resolve yet; False when a stop is requested."""
        reported = False
        while not stopping.is_set():
            try:
                with socket.create_connection((self._host, self._ray_port), timeout=5):
                    self._last_contact = time.monotonic()
                    return True
            except OSError as error:
                if not reported:
                    _log(f"waiting for the head at {self._host}:{self._ray_port}: {error}")
                reported = True
                stopping.wait(_JOIN_SECONDS)
        return False

    def is_needed(self) -> bool | None:
        """Return whether the driver needs this worker; None without an answer."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=3)
        try:
            connection.connect()
            self._last_contact = (
                time.monotonic()
            )  # a driver that accepts the connection is alive, however late it answers
            connection.request("GET", f"{NEEDED_PATH}?pod={quote(self._pod)}", headers=self._proof)
            response = connection.getresponse()
            body = response.read(_MOST_ANSWER_BYTES)  # a longer one is no JSON then
            if response.status == HTTPStatus.UNAUTHORIZED:
                raise _wrong_token()
            answer = parse_json(body)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if not isinstance(answer, dict) or "needed" not in answer:
            return None
        if "step" in answer:
            self.log_context = {"step": answer["step"]}
        return bool(answer["needed"])

    def check(self, stopping: threading.Event) -> None:
        """Raise InfrastructureError if the driver does not answer for a while; StopRequested on a stop."""
        until = time.monotonic() + LOST_SECONDS
        while self.is_needed() is None:
            if stopping.wait(POLL_SECONDS):
                raise StopRequested
            if time.monotonic() > until:
                raise InfrastructureError("RayStartFailed", _LOST)

    def seconds_since_contact(self) -> float:
        """Return the seconds since the driver last accepted a connection."""
        return time.monotonic() - self._last_contact


def _wrong_token() -> InfrastructureError:
    line = "the driver has another token; let both take it from the Secret of the job"
    return InfrastructureError("RayStartFailed", f"{env_vars.RAY_AUTH_TOKEN}: {line}")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
