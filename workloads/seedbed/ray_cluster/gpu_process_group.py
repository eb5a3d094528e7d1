"""torch.distributed for ranks on GPUs: Ray sets up devices and variables, the ranks meet like those on CPUs.

Ray's own configuration would let them meet in a TCPStore, which answers anybody.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from ray.train.backend import Backend
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _TorchBackend

from seedbed.ray_cluster.process_group import form_group
from seedbed_api.pod_contract.pod_environment import GpuExchange

_TIMEOUT_SECONDS = 600
_BACKENDS: dict[GpuExchange, str] = {"NCCL": "cpu:gloo,cuda:nccl", "Sealed": "gloo"}
_NCCL_SETTINGS = {
    "TORCH_NCCL_ASYNC_ERROR_HANDLING": "1",
    # torch's monitor would ask the store from threads that outlive the interpreter
    "TORCH_NCCL_ENABLE_MONITORING": "0",
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
}


@dataclass
class GpuGroupConfig(TorchConfig):
    """Ask for one process group of all workers, each with its GPU as the current device."""

    @classmethod
    def of(cls, exchange: GpuExchange) -> GpuGroupConfig:
        """Return the group of an exchange; over gloo the sums are made on the CPU, to the same bits."""
        return cls(backend=_BACKENDS[exchange], timeout_s=_TIMEOUT_SECONDS)

    @property
    def backend_cls(self) -> type[Backend]:
        """Return what Ray calls when a group starts and ends."""
        return _GpuBackend


class _GpuBackend(_TorchBackend):
    """What is done when a group of workers starts; Ray's own does the rest."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Make one process group of all workers."""
        worker_group.execute(_prepare_rank)
        form_group(worker_group, backend=backend_config.backend, seconds=backend_config.timeout_s)


def _prepare_rank() -> None:
    _set_torch_distributed_env_vars()  # type: ignore[no-untyped-call]
    set_nccl_variables(os.environ)


def set_nccl_variables(environ: MutableMapping[str, str]) -> None:
    """Set what torch reads when it makes a group over NCCL."""
    environ.update(_NCCL_SETTINGS)
    environ.pop("NCCL_COMM_ID", None)  # a well-known number in place of a random one
