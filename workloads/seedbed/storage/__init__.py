"""Storage: objects below a URL, in file systems, object stores and behind HTTP servers.

Objects are bytes under a relative path. Expected failures are `UserError` or `InfrastructureError`.
Remote stores are imported when needed: asyncio and TLS would add 0.04 s to the start of every command.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from seedbed.storage.local_storage import LocalStorage
from seedbed.storage.object_limits import DOCUMENT, ObjectLimit
from seedbed.storage.storage_errors import DamagedObject, OversizedObject, ShortRead, UnreadableObject
from seedbed.storage.storage_urls import (
    ALIASES,
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
    "ObjectLimit",
    "OversizedObject",
    "ShortRead",
    "Storage",
    "UnreadableObject",
    "absolute_path",
    "absolute_url",
    "holds",
    "is_writable",
    "iter_paths",
    "open_output",
    "open_storage",
    "printable_url",
    "without_links",
]


@runtime_checkable
class Storage(Protocol):
    """A prefix (`s3://bucket/folder`, `file:///…`, a plain path, `memory://…`, `https://…`) and its objects.

    Instances are picklable, so that a Ray task can carry one, and safe to use from several threads.
    """

    @property
    def url(self) -> str:
        """The URL without user, password and query values."""

    def read(self, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        """Return the whole object, which has at most the bytes that its kind may have.

        `FileNotFoundError` where there is none, `UnreadableObject` where no retry reads it, `DamagedObject`,
        and `OversizedObject`.
        """

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return exactly `length` bytes from `start`; `ShortRead` (an `OSError`) where there are fewer."""

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""

    def size(self, path: str) -> int:
        """Return the object's size in bytes; `FileNotFoundError` where there is none."""

    def list(self, prefix: str = "") -> list[str]:
        """Return the relative paths of all objects below `prefix`, sorted."""

    def create(self, path: str, data: bytes) -> bool:
        """Create an object atomically; False where one exists, whatever its bytes.

        If an answer of a remote store is lost, a retry finds our own object and returns False: compare the
        bytes where it matters.
        """

    def put(self, path: str, data: bytes) -> None:
        """Write or replace an object atomically."""

    def delete(self, path: str) -> None:
        """Remove an object if it exists."""

    def child(self, path: str) -> Storage:
        """Return the storage of a folder below this one."""


def open_storage(url: str, *, secret: Path | None = None, retry_seconds: float = 0.0) -> Storage:
    """Open the storage of a URL or local path, with credentials from the folder `secret` or the environment.

    Nothing is read or connected before the first use. Calls to a remote store that does not answer are
    retried for some seconds, and at least for `retry_seconds`. `UserError` for a URL that names no storage.
    """
    location = parse_location(url)
    if location.scheme == "file":
        shown = location.shown if location.shown.startswith("pvc://") else None
        root = Path(location.url.removeprefix("file://"))
        return LocalStorage(root=root, shown=shown, boundary=location.boundary)
    return _remote(location, secret, retry_seconds)


def without_links(storage: Storage) -> Storage:
    """Return a storage that follows no symbolic link below its folder, as a store of runs must not."""
    return replace(storage, follow_links=False) if isinstance(storage, LocalStorage) else storage


def open_output(url: str, *, secret: Path | None = None, retry_seconds: float = 0.0) -> Storage:
    """Open an output store, like `open_storage`, and follow no symbolic link below it."""
    return without_links(open_storage(url, secret=secret, retry_seconds=retry_seconds))


def holds(storage: Storage, path: str, data: bytes) -> bool:
    """Return whether an object that is there has these bytes."""
    try:
        return storage.read(path, ObjectLimit(kind="the same object", most_bytes=len(data))) == data
    except OversizedObject:
        return False


def is_writable(storage: Storage) -> bool:
    """Return whether objects can be created; HTTP servers are read-only."""
    from seedbed.storage.remote_storage import RemoteStorage

    return not isinstance(storage, RemoteStorage) or storage.connection.writable


def iter_paths(storage: Storage) -> Iterator[str]:
    """Yield all objects in any order; those of a bucket page by page, as a list may not fit into memory."""
    from seedbed.storage.remote_storage import RemoteStorage

    yield from storage.paths() if isinstance(storage, RemoteStorage) else storage.list()


def _remote(location: Location, secret: Path | None, retry_seconds: float) -> Storage:
    from seedbed.storage.fsspec_connections import Connection
    from seedbed.storage.remote_storage import RemoteStorage

    scheme = ALIASES.get(location.scheme, location.scheme)
    check_supported(scheme, location.shown)
    return RemoteStorage(
        connection=Connection(scheme=scheme, secret=secret),
        address=location.url,
        retry_seconds=retry_seconds,
    )
