"""Nodes of a Ray cluster: list them, add one from this process, drain and end it.

Nothing of Ray Train is imported: the thread that reports progress uses this module. Two threads that import
parts of one package in different orders wait for each other, and Python raises in one of them.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_ray_temp_dir
from ray._private.node import Node as RayNodeProcesses
from ray._private.parameter import RayParams
from ray._private.state import state
from ray.core.generated import autoscaler_pb2

from seedbed.ray_cluster.group_size import Node

_POLL_SECONDS = 0.1


def alive_nodes() -> list[Node]:
    """Return the nodes of the cluster that are alive."""
    leaving = set(state.get_draining_nodes())
    return [
        Node(
            name=node["NodeID"],
            cpus=node["Resources"].get("CPU", 0.0),
            gpus=node["Resources"].get("GPU", 0.0),
            leaving=node["NodeID"] in leaving,
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


class RayNode:
    """The processes of one Ray node that this process has started."""

    def __init__(
        self,
        *,
        address: str,
        ip: str,
        name: str,
        cpus: int,
        gpus: int,
        object_store_bytes: int,
        end_at_exit: bool,
        own_temp_folder: bool,
    ) -> None:
        """Start the node and join the cluster at `address`; Ray raises bare exceptions where that fails.

        With `own_temp_folder`, Ray's files lie in the default folder of this machine; the folder of the head
        may not exist here.
        """
        parameters: Any = RayParams  # its annotations are not all true
        folder = {"temp_dir": get_default_ray_temp_dir()} if own_temp_folder else {}  # type: ignore[no-untyped-call]
        self._node: Any = RayNodeProcesses(
            parameters(
                gcs_address=address,
                node_ip_address=ip,
                node_name=name,
                num_cpus=cpus,
                num_gpus=gpus,
                object_store_memory=object_store_bytes,
                include_log_monitor=False,
                dashboard_agent_listen_port=0,
                **folder,
            ),
            head=False,
            shutdown_at_exit=end_at_exit,
            spawn_reaper=True,
        )

    @property
    def log_folder(self) -> Path:
        """Return the folder of the output of this node's workers."""
        return Path(self._node.get_logs_dir_path())

    def has_dead_processes(self) -> bool:
        """Say whether a process of the node has ended."""
        return bool(self._node.dead_processes())

    def drain(self, *, seconds: float, message: str) -> None:
        """Announce to the cluster that this node ends in so many seconds."""
        reasons: Any = autoscaler_pb2
        reason = reasons.DrainNodeReason.DRAIN_NODE_REASON_PREEMPTION
        deadline = int(1000 * (time.time() + seconds))
        self._node.get_gcs_client().drain_node(self._node.node_id, reason, message, deadline)

    def wait_for_end(self, *, seconds: float) -> None:
        """Wait until a process of the node ends, at most so long."""
        until = time.monotonic() + seconds
        while time.monotonic() < until and not self.has_dead_processes():
            time.sleep(_POLL_SECONDS)

    def kill(self) -> None:
        """End all processes of the node at once."""
        self._node.kill_all_processes(check_alive=False, allow_graceful=False)
