"""Objects under one URL: the only door to file systems, object stores and HTTP servers.

Everything is bytes under a relative path. Expected failures leave as `UserError` or `InfrastructureError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, runtime_checkable

from seedbed.storage.local_storage import LocalStorage
from seedbed.storage.storage_errors import DamagedObject, ShortRead, UnreadableObject
from seedbed.storage.storage_urls import (
    Location,
    absolute_path,
    absolute_url,
    check_supported,
    parse_location,
    printable_url,
)

__all__ = [
    "DamagedObject",
    "LocalStorage",
    "ShortRead",
    "Storage",
    "UnreadableObject",
    "absolute_path",
    "absolute_url",
    "is_writable",
    "iter_paths",
    "open_storage",
    "printable_url",
]


@runtime_checkable
class Storage(Protocol):
    """A prefix (`s3://bucket/folder`, `file:///…`, a plain path, `memory://…`, `https://…`) and its objects.

    Instances are picklable, so that a Ray task can carry one, and safe to use from several threads.
    """

    @property
    def url(self) -> str:
        """The URL as it may be printed: without user, password or query values."""

    def read(self, path: str) -> bytes:
        """Return the whole object.

        `FileNotFoundError` where there is none, `UnreadableObject` where no retry reads it, `DamagedObject`.
        """

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; `ShortRead` (an `OSError`) where there are fewer."""

    def exists(self, path: str) -> bool:
        """Say whether an object is there."""

    def size(self, path: str) -> int:
        """Return the object's size in bytes; `FileNotFoundError` where there is none."""

    def list(self, prefix: str = "") -> list[str]:
        """Return the relative paths of all objects below `prefix`, sorted."""

    def create(self, path: str, data: bytes) -> bool:
        """Write an object that is not there yet, all or nothing; False where one is, whatever it holds.

        Remotely, a lost answer can make our own object look like another's: who must know compares the bytes.
        """

    def put(self, path: str, data: bytes) -> None:
        """Write or replace an object, all or nothing."""

    def delete(self, path: str) -> None:
        """Remove an object; one that is gone already is fine."""

    def child(self, path: str) -> Storage:
        """Return the storage of a folder below this one."""


def open_storage(url: str, *, secret: Path | None = None, retry_seconds: float = 0.0) -> Storage:
    """Open the storage of a URL or local path, with credentials from the folder `secret` or the environment.

    Nothing is touched before the first use. A remote store that does not answer is asked again for some
    seconds, and at least for `retry_seconds`. `UserError` for a URL that names no storage.
    """
    location = parse_location(url)
    if location.scheme == "file":
        shown = location.shown if location.shown.startswith("pvc://") else None
        return LocalStorage(root=Path(location.url.removeprefix("file://")), shown=shown)
    return _remote(location, secret, retry_seconds)


def is_writable(storage: Storage) -> bool:
    """Say whether objects can be created there at all: an HTTP server is read only."""
    from seedbed.storage.remote_storage import RemoteStorage

    return not isinstance(storage, RemoteStorage) or storage.connection.writable


def iter_paths(storage: Storage) -> Iterator[str]:
    """Yield all objects in any order; of a bucket page by page, for they may be too many for a list."""
    from seedbed.storage.remote_storage import RemoteStorage

    yield from storage.paths() if isinstance(storage, RemoteStorage) else storage.list()


def _remote(location: Location, secret: Path | None, retry_seconds: float) -> Storage:
    from seedbed.storage.fsspec_connections import Connection
    from seedbed.storage.remote_storage import RemoteStorage

    scheme = {"s3a": "s3"}.get(location.scheme, location.scheme)
    check_supported(scheme, location.shown)
    return RemoteStorage(
        connection=Connection(scheme=scheme, secret=secret),
        address=location.url,
        retry_seconds=retry_seconds,
    )
