"""The driver's connection to a Ray of pods: start its head, or join it; run a task on a worker; disconnect.

The driver's own node offers no slot, so training and decoding run on the other nodes.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import RayError, RaySystemError, RayTaskError

from seedbed.ray_cluster.cluster_interface import StopRequested, T
from seedbed.ray_cluster.group_size import rank_capacity
from seedbed.ray_cluster.local_ray import object_store_bytes
from seedbed.ray_cluster.ray_nodes import RayNode, alive_nodes
from seedbed.ray_cluster.stop_signals import preserve_signal_handlers
from seedbed.startup.ray_environment import job_config
from seedbed_api.errors import InfrastructureError, SeedbedError

_POLL_SECONDS = 0.2


def start_head(*, ip: str, port: int) -> None:
    """Start the head of a new cluster in this pod and connect to it."""
    os.environ["RAY_GCS_SERVER_PORT"] = str(port)
    with _new_connection():
        ray.init(
            address="local",
            num_cpus=0,
            num_gpus=0,
            include_dashboard=False,
            object_store_memory=object_store_bytes(),
            _node_name="driver",
            **_connection_options(ip),
        )


def join_cluster(address: str, *, ip: str, name: str) -> None:
    """Add a node without slots to a cluster and connect to it."""
    with _new_connection():
        RayNode(
            address=address,
            ip=ip,
            name=name,
            cpus=0,
            gpus=0,
            object_store_bytes=object_store_bytes(),
            end_at_exit=True,
            own_temp_folder=False,
        )
        ray.init(address=address, **_connection_options(ip))


@contextmanager
def _new_connection() -> Iterator[None]:
    """End what a failed try has left, and keep our signal handlers."""
    disconnect()
    with preserve_signal_handlers():
        yield


def _connection_options(ip: str) -> dict[str, Any]:
    return {
        "job_config": job_config(),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "_node_ip_address": ip,
    }


def disconnect() -> None:
    """End the connection, and the head where this process started it."""
    ray.shutdown()


def run_remote_task(
    work: Callable[..., T],
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    *,
    gpus: int,
    stopping: threading.Event,
) -> T:
    """Return what a function returns on a worker node; wait for such a node."""
    answer = ray.remote(work).options(num_cpus=1, num_gpus=gpus).remote(*args, **kwargs)
    while not ray.wait([answer], timeout=_POLL_SECONDS)[0]:
        if stopping.is_set():
            raise StopRequested
    try:
        result: T = ray.get(answer)
    except RayTaskError as error:
        if isinstance(error.cause, SeedbedError):
            raise error.cause from None
        raise
    except RayError as error:
        line = f"a worker was lost before the training: {str(error).strip().splitlines()[0]}"
        raise InfrastructureError("WorkersLost", line) from error
    return result


def available_ranks(*, gpus_per_rank: int) -> int:
    """Return how many ranks the connected nodes have room for; 0 when the connection has ended."""
    try:
        return rank_capacity(alive_nodes(), gpus_per_rank=gpus_per_rank)
    except RaySystemError:  # another thread has disconnected
        return 0
