"""A Ray of pods as the driver sees it: it is the head, or joins one, and never trains itself."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from seedbed.pods.pod_settings import DriverSettings
from seedbed.pods.ray_start import started
from seedbed.ray_cluster.cluster_interface import P, StopRequested, T, WorkerPlacement, WorkerRange
from seedbed.ray_cluster.local_ray import object_store_bytes
from seedbed.ray_cluster.stop_signals import preserve_signal_handlers
from seedbed.startup.ray_environment import job_config
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.errors import InfrastructureError, SeedbedError

_LOOK_SECONDS = 0.2
START_TRIES = 3
"""Each has 30 s of Ray's; more would outlast the patience of who waits for a pod that is broken."""


class PodCluster:
    """The cluster of one attempt. Ray is started at the first use; `close` ends it."""

    def __init__(self, settings: DriverSettings, *, stopping: threading.Event) -> None:
        self._settings, self._stopping = settings, stopping
        self._started = False

    def compute(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns on a worker pod, which is waited for."""
        self.start()
        import ray
        from ray.exceptions import RayError, RayTaskError

        remote = ray.remote(work).options(num_cpus=1, num_gpus=self._gpus)
        answer = remote.remote(*args, **kwargs)
        while not ray.wait([answer], timeout=_LOOK_SECONDS)[0]:
            if self._stopping.is_set():
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

    @contextmanager
    def training(self, program: WorkerConfig, workers: WorkerRange) -> Iterator[WorkerPlacement]:
        """Ranks are placed on worker pods; these come and go."""
        del program, workers
        self.start()
        yield WorkerPlacement(gpus_per_rank=self._gpus)

    def available_ranks(self) -> int:
        """Return how many ranks the worker pods hold that have joined."""
        if not self._started:
            return 0
        from ray.exceptions import RaySystemError

        from seedbed.ray_cluster.group_size import rank_capacity
        from seedbed.ray_cluster.ray_nodes import alive_nodes

        try:
            return rank_capacity(alive_nodes(), gpus_per_rank=self._gpus)
        except RaySystemError:  # it was closed meanwhile, by another thread
            return 0

    @property
    def share(self) -> Mapping[str, float]:
        """Return what a run of one process takes: the place of one rank."""
        return {"CPU": 1.0, "GPU": float(self._gpus)} if self._gpus else {"CPU": 1.0}

    @property
    def _gpus(self) -> int:
        return max(1, self._settings.gpus) if self._settings.device == "cuda" else 0

    def start(self) -> None:
        """Start the head, or join it; `InfrastructureError` where that fails."""
        if not self._started:
            started(self._start, tries=START_TRIES, pause=1.0, stopping=self._stopping)
            self._started = True

    def _start(self) -> None:
        import ray

        ray.shutdown()  # what is left of a try before
        with preserve_signal_handlers():
            if self._settings.ray_address is None:
                _start_head(self._settings)
            else:
                _join(self._settings, self._settings.ray_address)

    def close(self) -> None:
        """End this node of Ray; workers of a head that ends find out by themselves."""
        if self._started:
            import ray

            self._started = False
            ray.shutdown()


def _start_head(settings: DriverSettings) -> None:
    import ray

    os.environ["RAY_GCS_SERVER_PORT"] = str(settings.ray_port)
    ray.init(address="local", _node_ip_address=settings.pod_ip, **_of_a_driver())


def _join(settings: DriverSettings, address: str) -> None:
    """Add a node without a slot to the Ray of others, and drive from it."""
    import ray
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    own = _of_a_driver()
    parameters: Any = RayParams  # its annotations are not all true
    Node(
        parameters(
            gcs_address=address,
            node_ip_address=settings.pod_ip,
            node_name=settings.pod_name,
            num_cpus=own["num_cpus"],
            num_gpus=own["num_gpus"],
            object_store_memory=own["object_store_memory"],
            include_log_monitor=False,
            dashboard_agent_listen_port=0,
        ),
        head=False,
        shutdown_at_exit=True,
        spawn_reaper=True,
    )
    ray.init(
        address=address,
        job_config=own["job_config"],
        _node_ip_address=settings.pod_ip,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _of_a_driver() -> dict[str, Any]:
    """Return what keeps training, decoding and shared memory off the driver's node."""
    return {
        "num_cpus": 0,
        "num_gpus": 0,
        "include_dashboard": False,
        "job_config": job_config(),
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "object_store_memory": object_store_bytes(),
        "_node_name": "driver",
    }
