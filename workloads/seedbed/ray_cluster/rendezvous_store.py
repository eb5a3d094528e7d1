"""Where the ranks of a group find each other: keys in Ray's control store, whose calls need Ray's token.

torch's own store listens on a port of the first rank and answers anybody. Needs torch: only ranks import it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta

import torch.distributed as dist
from ray.experimental import internal_kv

from seedbed.ray_cluster.process_group import NAMESPACE

_POLL_SECONDS = 0.02


class RendezvousStore(dist.Store):  # type: ignore[misc, name-defined]
    """The keys of one group; torch calls the methods from C++ while the group is set up."""

    def __init__(self, group: str, *, timeout: timedelta) -> None:
        super().__init__()
        self._group, self._timeout = group, timeout

    def set(self, key: str, value: str | bytes) -> None:
        """Set the value of a key."""
        internal_kv._internal_kv_put(self._path(key), value, namespace=NAMESPACE)

    def get(self, key: str) -> bytes:
        """Return the value of a key, once there is one."""
        self.wait([key])
        value: bytes = internal_kv._internal_kv_get(self._path(key), namespace=NAMESPACE)
        return value

    def multi_get(self, keys: Sequence[str]) -> list[bytes]:
        """Return the values of several keys, once they all have some."""
        return [self.get(key) for key in keys]

    def clone(self) -> RendezvousStore:
        """Return a store of the same keys for another thread: this one, which Python code must hold."""
        return self

    def check(self, keys: Sequence[str]) -> bool:
        """Say whether all keys have values."""
        return all(internal_kv._internal_kv_exists(self._path(key), namespace=NAMESPACE) for key in keys)

    def wait(self, keys: Sequence[str], timeout: timedelta | None = None) -> None:
        """Wait until all keys have values; TimeoutError with the keys where they come too late."""
        until = time.monotonic() + (timeout or self._timeout).total_seconds()
        while not self.check(keys):
            if time.monotonic() > until:
                raise TimeoutError(f"no worker has set {', '.join(keys)} in time")
            time.sleep(_POLL_SECONDS)

    def _path(self, key: str) -> str:
        return f"{self._group}/{key}"
