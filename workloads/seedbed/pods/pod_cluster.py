"""The Ray of pods as its driver uses it: the driver starts the head or joins it, and never trains itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from seedbed.pods.pod_settings import DriverSettings
from seedbed.pods.ray_node import start_with_retries
from seedbed.ray_cluster import ray_connection
from seedbed.ray_cluster.cluster_interface import P, T, WorkerPlacement, WorkerRange
from seedbed.training.worker_config import WorkerConfig

START_TRIES = 3
"""Ray gives each try 30 s; more tries would take longer than the operator waits for a driver."""


class PodCluster:
    """The cluster of one attempt. Ray is started at the first use; `close` ends it."""

    def __init__(self, settings: DriverSettings, *, stopping: threading.Event) -> None:
        self._settings, self._stopping = settings, stopping
        self._started = False

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what a function returns on a worker pod; wait for such a pod."""
        self.start()
        return ray_connection.run_remote_task(work, args, kwargs, gpus=self._gpus, stopping=self._stopping)

    @contextmanager
    def provision_workers(self, program: WorkerConfig, workers: WorkerRange) -> Iterator[WorkerPlacement]:
        """Place ranks on worker pods, which the operator creates and removes."""
        del program, workers
        self.start()
        yield WorkerPlacement(gpus_per_rank=self._gpus, gpu_exchange=self._settings.gpu_exchange or "Sealed")

    def available_ranks(self) -> int:
        """Return how many ranks the worker pods that have joined have room for."""
        return ray_connection.available_ranks(gpus_per_rank=self._gpus) if self._started else 0

    @property
    def resources_per_rank(self) -> Mapping[str, float]:
        """Return the resources of one rank."""
        return {"CPU": 1.0, "GPU": float(self._gpus)} if self._gpus else {"CPU": 1.0}

    @property
    def _gpus(self) -> int:
        return max(1, self._settings.gpus) if self._settings.device == "cuda" else 0

    def start(self) -> None:
        """Start the head, or join it; `InfrastructureError` where that fails."""
        if not self._started:
            start_with_retries(self._connect, tries=START_TRIES, pause=1.0, stopping=self._stopping)
            self._started = True

    def _connect(self) -> None:
        pod = self._settings
        if pod.ray_address is None:
            ray_connection.start_head(ip=pod.pod_ip, port=pod.ray_port)
        else:
            ray_connection.join_cluster(pod.ray_address, ip=pod.pod_ip, name=pod.pod_name)

    def close(self) -> None:
        """End this node of Ray; the workers of a head that has ended notice it themselves."""
        if self._started:
            self._started = False
            ray_connection.disconnect()
