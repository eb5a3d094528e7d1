"""Ray's control store without a Ray, and the store of torch.distributed that is made of it."""

from __future__ import annotations

from datetime import timedelta

from seedbed.ray_cluster.rendezvous_store import RendezvousStore


class ControlStore:
    """Ray's key-value store, as one process sees it."""

    def __init__(self) -> None:
        self.values: dict[tuple[bytes, str], bytes] = {}

    def _internal_kv_put(self, key: str, value: bytes, *, namespace: bytes) -> None:
        self.values[namespace, key] = value

    def _internal_kv_get(self, key: str, *, namespace: bytes) -> bytes | None:
        return self.values.get((namespace, key))

    def _internal_kv_exists(self, key: str, *, namespace: bytes) -> bool:
        return (namespace, key) in self.values


def a_store(group: str, seconds: float = 30) -> RendezvousStore:
    return RendezvousStore(group, timeout=timedelta(seconds=seconds))
