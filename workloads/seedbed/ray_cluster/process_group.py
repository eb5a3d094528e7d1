"""torch.distributed over gloo for a group of workers, set up without torch in Ray's controller.

The controller loads this module: what it imports at the top is paid for by one more process.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import ray
from ray.experimental import internal_kv
from ray.train.backend import Backend, BackendConfig

from seedbed_api.errors import InfrastructureError
from seedbed_api.pod_contract.env_vars import RAY_AUTH_TOKEN

NAMESPACE = b"seedbed-rendezvous"
"""Of the keys by which ranks find each other, in Ray's control store."""
_LEAVE_SECONDS = 30.0
_GREETING_SECONDS = 60.0
_NONCE_BYTES = 32


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
        form_group(worker_group, backend=backend_config.backend, seconds=backend_config.timeout_seconds)

    def on_shutdown(self, worker_group: Any, backend_config: Any) -> None:
        """Leave the process group, unless a worker failed: who lost a peer would hang, and is killed next."""
        del backend_config
        status = worker_group.get_latest_poll_status()
        if status is not None and status.errors:
            return
        ray.wait(worker_group.execute_async(_leave), num_returns=len(worker_group), timeout=_LEAVE_SECONDS)


def form_group(worker_group: Any, *, backend: str, seconds: float) -> None:
    """Make one process group of all workers, who find each other in Ray's control store."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    joined = [
        worker_group.execute_single_async(
            rank, join_group, backend=backend, nonce=nonce, own=rank, world=len(worker_group), seconds=seconds
        )
        for rank in range(len(worker_group))
    ]
    ray.get(joined)
    internal_kv._internal_kv_del(f"{nonce.hex()}/", del_by_prefix=True, namespace=NAMESPACE)


@dataclass
class _Membership:
    """What a rank keeps of the group that it is in."""

    store: Any = None
    """torch calls it as long as the group lives."""
    key: bytes | None = None


_membership = _Membership()


def take_group_key() -> bytes | None:
    """Return the key of this worker's group over gloo, once: no two exchanges may use one key."""
    key, _membership.key = _membership.key, None
    return key


def join_group(*, backend: str, nonce: bytes, own: int, world: int, seconds: float) -> None:
    """Join the process group as one rank, with a store that needs the token; gloo's messages are sealed."""
    import torch.distributed as dist

    from seedbed.arithmetic.subtree_exchange import greet
    from seedbed.ray_cluster.rendezvous_store import RendezvousStore

    patience = timedelta(seconds=seconds)
    _membership.store = RendezvousStore(nonce.hex(), timeout=patience)
    _membership.key = group_key(os.environ, nonce)
    dist.init_process_group(backend, store=_membership.store, rank=own, world_size=world, timeout=patience)
    greet(_membership.key, seconds=min(seconds, _GREETING_SECONDS))


def group_key(environ: Mapping[str, str], nonce: bytes) -> bytes:
    """Return the key of a group: of Ray's token, which every rank holds, and of a nonce that is used once."""
    from seedbed.arithmetic.sealed_messages import derive_key

    token = environ.get(RAY_AUTH_TOKEN)
    if not token:
        fix = f"set {RAY_AUTH_TOKEN}, as the operator and seedbed run do"
        raise InfrastructureError("RayUnhealthy", f"a worker has no token of its Ray; {fix}")
    return derive_key(token.encode(), salt=nonce, purpose="seedbed process group")


def _leave() -> None:
    import torch.distributed as dist

    if dist.is_initialized() and dist.get_world_size() > 1:
        dist.destroy_process_group()
