"""This machine as a cluster: a local Ray on loopback with what training needs, and child processes.

The environment must be set before Ray is imported; daemons and workers inherit it.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager, nullcontext
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.logs.json_log import QUOTED_FIELDS
from seedbed.logs.ray_worker_output import follow_worker_output
from seedbed.ray_cluster.cluster_interface import P, T, WorkerPlacement, WorkerRange
from seedbed.ray_cluster.stop_signals import preserve_signal_handlers
from seedbed.startup.ray_environment import (
    clean_environment,
    is_ray_running,
    job_config,
    temporary_folder,
    token_settings,
)
from seedbed_api.errors import InfrastructureError, UserError, refusal
from seedbed_api.json_log_lines import MESSAGE

if TYPE_CHECKING:
    from seedbed.training.worker_config import WorkerConfig

workers_logger = logging.getLogger("seedbed.workers")
"""Logger for the output of Ray's worker processes; enabled where a run log is recorded."""
_QUOTE_SECONDS = 5.0

SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # workers are Pythons of this environment, however the command was started
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    "RAY_TRAIN_V2_ENABLED": "1",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    # an elastic group waits this long for the workers that a lost node still seems to offer
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_prestart_worker_first_driver": "0",
    # Ray's switch for a cluster of one node: it then stays on 127.0.0.1, which it would replace otherwise
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    # raylets would report dead workers on stdout, where the status belongs; the driver reports them
    "RAY_DEDUP_LOGS_SKIP_REGEX": "^",
    "GLOO_SOCKET_IFNAME": "lo",
    "NCCL_SOCKET_IFNAME": "lo",
}


def prepare_environment(environ: MutableMapping[str, str]) -> None:
    """Set what Ray reads at import and at start, and remove what the user has set for another Ray."""
    clean_environment(environ, SETTINGS | token_settings())


class LocalCluster:
    """This machine: one worker trains in the driver's process, more in a Ray of the driver's own."""

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it here: the driver is on the machine that trains."""
        return work(*args, **kwargs)

    @contextmanager
    def provision_workers(self, program: WorkerConfig, workers: WorkerRange) -> Iterator[WorkerPlacement]:
        """Start Ray where more than one rank may train, or Ray Data feeds."""
        if workers.most == 1 and program.feed == "Local":
            yield WorkerPlacement(in_process=True)
            return
        with local_ray(workers=workers.most, gpus=_gpus(program, workers)):
            yield WorkerPlacement(gpus_per_rank=int(program.device == "cuda"), gpu_exchange="NCCL")

    def available_ranks(self) -> int:
        """Return none: they are started together with the training."""
        return 0


def _gpus(program: WorkerConfig, workers: WorkerRange) -> int:
    """Return the GPUs that workers may be placed on: those that are there."""
    if program.device != "cuda":
        return 0
    found = count_gpus()
    if found < workers.least:
        fix = f"use at most {found} workers on this machine"
        line = refusal("spec.cluster.workers.min", workers.least, f"there are {found} GPUs", fix)
        raise UserError("InvalidSpec", line)
    return min(found, workers.most)


def count_gpus() -> int:
    """Return how many GPUs this machine has."""
    import torch

    return torch.cuda.device_count()


@contextmanager
def local_ray(*, workers: int, gpus: int) -> Iterator[None]:
    """Start a Ray with a CPU slot for each worker, and end it; it may not start: `InfrastructureError`.

    A Ray that this process has started already is used as it is, and left running.
    """
    if is_ray_running():
        yield
        return
    prepare_environment(os.environ)
    folder = temporary_folder(os.environ)
    import ray  # reads the environment that was prepared above

    try:
        with preserve_signal_handlers():
            ray.init(
                address="local",
                num_cpus=max(workers, os.cpu_count() or 1),
                num_gpus=gpus,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                object_store_memory=object_store_bytes(),
                job_config=job_config(),
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
    except Exception as error:  # Ray raises bare ones, also when its 30 s are over
        raise InfrastructureError(
            "RayStartFailed",
            f"Ray did not start on this machine: {error}; try again, or free memory and ports",
        ) from error
    try:
        with _workers_quoted():
            yield
    finally:
        ray.shutdown()


def _workers_quoted() -> AbstractContextManager[None]:
    """Log what the workers print, where somebody wants to know it: the terminal does not show it."""
    if not workers_logger.isEnabledFor(logging.INFO):
        return nullcontext()
    from ray._private import worker

    node: Any = worker._global_node
    return follow_worker_output(Path(node.get_logs_dir_path()), log_worker_record, every=_QUOTE_SECONDS)


def log_worker_record(record: Mapping[str, Any]) -> None:
    """Log a record of a worker, whatever its level: it is for the run log, not for the terminal."""
    workers_logger.info("%s", record[MESSAGE], extra={QUOTED_FIELDS: record})


def object_store_bytes() -> int:
    """Half of /dev/shm, at most 1 GiB: blocks are consumed as they come and never pile up."""
    shared = Path("/dev/shm")
    folder = shared if shared.is_dir() else Path(tempfile.gettempdir())
    stats = os.statvfs(folder)
    return max(80 * 2**20, min(2**30, stats.f_bavail * stats.f_frsize // 2))


class ChildProcess:
    """A process of this machine, for the time of one call."""

    def run_task(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call it there; failures arrive as they are. Raises InfrastructureError if the process is lost."""
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=_heed_no_ctrl_c) as pool:
            try:
                return pool.submit(work, *args, **kwargs).result()
            except BrokenProcessPool as error:
                problem = "the process that probes this machine was killed; check whether memory ran out"
                raise InfrastructureError("DriverCrashed", problem) from error


def _heed_no_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
