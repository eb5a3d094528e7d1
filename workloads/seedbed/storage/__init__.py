"""Objects under one URL: the only door to file systems, object stores and HTTP servers.

Everything is bytes under a relative path. Expected failures leave as `UserError` or `InfrastructureError`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable


@runtime_checkable
class Storage(Protocol):
    """A prefix (`s3://bucket/folder`, `file:///…`, a plain path, `memory://…`, `https://…`) and the objects below it.

    Instances are picklable, so that a Ray task can carry one, and safe to use from several threads.
    """

    url: str

    def read(self, path: str) -> bytes:
        """Return the whole object; `FileNotFoundError` where there is none."""

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from byte `start`; a shorter object is `InvalidDataset`-like `OSError`."""

    def exists(self, path: str) -> bool:
        """Say whether an object is there."""

    def size(self, path: str) -> int:
        """Return the object's size in bytes; `FileNotFoundError` where there is none."""

    def list(self, prefix: str = "") -> list[str]:
        """Return the relative paths of all objects below `prefix`, sorted."""

    def create(self, path: str, data: bytes) -> bool:
        """Write an object that is not there yet, all or nothing; return False where one is, whatever it holds."""

    def put(self, path: str, data: bytes) -> None:
        """Write or replace an object, all or nothing."""

    def delete(self, path: str) -> None:
        """Remove an object; one that is gone already is fine."""

    def child(self, path: str) -> Storage:
        """Return the storage of a folder below this one."""


def open_storage(url: str, *, secret: Path | None = None) -> Storage:
    """Open the storage of a URL or local path, with credentials from the files of `secret` or the environment."""
    raise NotImplementedError
