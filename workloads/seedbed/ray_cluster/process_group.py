"""torch.distributed over gloo for a group of workers, set up without torch in Ray's controller.

The controller loads this module: what it imports at the top is paid for by one more process.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.train.backend import Backend, BackendConfig

_LEAVE_SECONDS = 30.0


@dataclass
class GlooConfig(BackendConfig):
    """Ask for one process group of all workers over gloo."""

    backend: str = "gloo"
    timeout_seconds: float = 600.0

    @property
    def backend_cls(self) -> type[Backend]:
        """Return what Ray calls when a group starts and ends."""
        return _GlooBackend


class _GlooBackend(Backend):
    """What is done when a group of workers starts and ends; runs in the controller."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Make one process group of all workers."""
        host, port = worker_group.execute_single(0, _listen)
        joined = [
            worker_group.execute_single_async(
                rank,
                _join,
                host=host,
                port=port,
                own=rank,
                world=len(worker_group),
                seconds=backend_config.timeout_seconds,
            )
            for rank in range(len(worker_group))
        ]
        ray.get(joined)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Leave the process group, unless a worker failed: who lost a peer would hang, and is killed next."""
        del backend_config
        status = worker_group.get_latest_poll_status()
        if status is not None and status.errors:
            return
        ray.wait(worker_group.execute_async(_leave), num_returns=len(worker_group), timeout=_LEAVE_SECONDS)


_listening: list[socket.socket] = []
"""In the first worker, between two calls of the controller: where the others will find it."""


def _listen() -> tuple[str, int]:
    """Listen on this node's address, and on no other; return address and port."""
    address: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listening = socket.create_server((address, 0), family=family)
    _listening[:] = [listening]
    return address, listening.getsockname()[1]


def _join(*, host: str, port: int, own: int, world: int, seconds: float) -> None:
    import torch.distributed as dist

    patience = timedelta(seconds=seconds)
    listening = _listening.pop().detach() if own == 0 else None
    store = dist.TCPStore(  # type: ignore[attr-defined]
        host,
        port,
        world_size=world,
        is_master=own == 0,
        timeout=patience,
        wait_for_workers=False,
        master_listen_fd=listening,
    )
    dist.init_process_group("gloo", store=store, rank=own, world_size=world, timeout=patience)


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.destroy_process_group()
