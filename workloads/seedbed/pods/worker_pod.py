"""The program of a worker pod: a node of the driver's Ray, for as long as the driver wants it."""

from __future__ import annotations

import http.client
import json
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
from seedbed.pods.driver_endpoint import ASK_SECONDS
from seedbed.pods.pod_log import upload_pod_log
from seedbed.pods.pod_settings import WorkerSettings
from seedbed.pods.ray_start import started
from seedbed.pods.termination_signal import stop_by_signal
from seedbed.ray_cluster.cluster_interface import StopRequested
from seedbed.ray_cluster.local_ray import object_store_bytes
from seedbed.runs.process_identity import TURN_VARIABLE
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import InfrastructureError
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.driver_endpoint import NEEDED_PATH

LOST_SECONDS = 10.0
"""A head that was not heard of for so long is lost."""
_LOST = f"the driver was not heard of for {LOST_SECONDS:.0f} s; it is lost"
_JOIN_SECONDS = 1.0
_JOIN_TRIES = 10
_DRAIN_SECONDS = 20.0


def serve(environ: Mapping[str, str], spool: Path) -> int:
    """Run the node of one worker pod; return its exit code."""
    stopping = stop_by_signal()
    settings = WorkerSettings.from_env(environ)
    os.environ[TURN_VARIABLE] = settings.turn  # of trials, which train in processes of this node
    with upload_pod_log(spool, settings):
        return _serve(settings, stopping)


def _serve(settings: WorkerSettings, stopping: threading.Event) -> int:
    head = Head(settings)
    if not head.awaited(stopping):
        return ExitCode.STOPPED
    if head.needs_us() is False:
        return ExitCode.DONE
    node = _joined(settings, head, stopping)
    if node is None:
        return ExitCode.STOPPED
    try:
        with follow_worker_output(
            Path(node.get_logs_dir_path()), lambda record: print_record(head.known | dict(record))
        ):
            return _watched(node, head, stopping)
    finally:
        node.kill_all_processes(check_alive=False, allow_graceful=False)


def _joined(settings: WorkerSettings, head: Head, stopping: threading.Event) -> Any:
    """Start the node, again while the head is not up; None when told to stop."""
    from ray._private.node import Node

    def start() -> Any:
        head.check(stopping)  # without it Ray tries to join for minutes
        return Node(_parameters(settings), head=False, shutdown_at_exit=False, spawn_reaper=True)

    try:
        node = started(start, tries=_JOIN_TRIES, pause=_JOIN_SECONDS, stopping=stopping)
    except StopRequested:
        return None
    _say(f"joined {settings.ray_address} with room for {settings.ranks} ranks")
    return node


def _parameters(settings: WorkerSettings) -> Any:
    from ray._common.utils import get_default_ray_temp_dir
    from ray._private.parameter import RayParams

    parameters: Any = RayParams  # its annotations are not all true
    return parameters(
        gcs_address=settings.ray_address,
        node_ip_address=settings.pod_ip,
        node_name=settings.pod_name,
        num_cpus=settings.ranks,
        num_gpus=settings.ranks * max(1, settings.gpus) if settings.device == "cuda" else 0,
        object_store_memory=object_store_bytes(),
        temp_dir=get_default_ray_temp_dir(),  # type: ignore[no-untyped-call]  # not where the head has its own
        include_log_monitor=False,
        dashboard_agent_listen_port=0,
    )


def _watched(node: Any, head: Head, stopping: threading.Event) -> int:
    """Return how this node's time ended."""
    while not stopping.wait(ASK_SECONDS):
        answer = head.needs_us()
        if answer is False:
            _say("the driver has ended; this worker is done")
            return ExitCode.DONE
        if node.dead_processes():
            _say("a process of Ray on this node ended")
            return ExitCode.DONE if head.needs_us() is False else ExitCode.INFRASTRUCTURE
        if answer is None and head.silent_for() > LOST_SECONDS:
            _say(_LOST)
            return ExitCode.INFRASTRUCTURE
    _drain(node)
    return ExitCode.STOPPED


def _drain(node: Any) -> None:
    """Tell Ray that this node goes; the group keeps its state and leaves, then the node ends by itself."""
    from ray.core.generated import autoscaler_pb2

    reasons: Any = autoscaler_pb2

    deadline = int(1000 * (time.time() + _DRAIN_SECONDS))
    reason = reasons.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
    node.get_gcs_client().drain_node(node.node_id, reason, "the pod was told to end", deadline)
    _say("told to end; the group is asked to keep its state and to leave")
    until = time.monotonic() + _DRAIN_SECONDS
    while time.monotonic() < until and not node.dead_processes():
        time.sleep(0.1)


class Head:
    """The driver as a worker sees it: asked every second whether it still needs us."""

    def __init__(self, settings: WorkerSettings) -> None:
        host, _, port = settings.ray_address.rpartition(":")
        self._host, self._ray_port = host.strip("[]"), int(port)
        self._port, self._pod = settings.progress_port, settings.pod_name
        self._proof = {"Authorization": f"Bearer {settings.token}"}
        self._heard = time.monotonic()
        self.known: dict[str, Any] = {}
        """What is added to a record of a rank: the step that the training is in."""

    def awaited(self, stopping: threading.Event) -> bool:
        """Wait until the head listens: its name may not be known yet, nor its port open."""
        told = False
        while not stopping.is_set():
            try:
                with socket.create_connection((self._host, self._ray_port), timeout=5):
                    self._heard = time.monotonic()
                    return True
            except OSError as error:
                if not told:
                    _say(f"waiting for the head at {self._host}:{self._ray_port}: {error}")
                told = True
                stopping.wait(_JOIN_SECONDS)
        return False

    def needs_us(self) -> bool | None:
        """Return the driver's answer, None where there is none."""
        connection = http.client.HTTPConnection(self._host, self._port, timeout=3)
        try:
            connection.connect()
            self._heard = time.monotonic()  # who takes the call lives, however long the answer takes
            connection.request("GET", f"{NEEDED_PATH}?pod={quote(self._pod)}", headers=self._proof)
            response = connection.getresponse()
            body = response.read()
            if response.status == HTTPStatus.UNAUTHORIZED:
                raise _stranger()
            answer = json.loads(body)
        except (OSError, http.client.HTTPException, ValueError):
            return None
        finally:
            connection.close()
        if "step" in answer:
            self.known = {"step": answer["step"]}
        return bool(answer["needed"])

    def check(self, stopping: threading.Event) -> None:
        """Raise InfrastructureError if the driver does not answer for a while; StopRequested on a stop."""
        until = time.monotonic() + LOST_SECONDS
        while self.needs_us() is None:
            if stopping.wait(ASK_SECONDS):
                raise StopRequested
            if time.monotonic() > until:
                raise InfrastructureError("RayStartFailed", _LOST)

    def silent_for(self) -> float:
        """Return the seconds since the driver answered."""
        return time.monotonic() - self._heard


def _stranger() -> InfrastructureError:
    line = "the driver has another token; let both take it from the Secret of the job"
    return InfrastructureError("RayStartFailed", f"{env_vars.RAY_AUTH_TOKEN}: {line}")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
