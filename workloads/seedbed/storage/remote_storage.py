"""Objects in S3, over HTTP, in memory, or any other store of fsspec, with retries and translated errors."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar
from urllib.parse import quote, unquote

from seedbed.storage.bounded_read import Oversized, read_http, read_whole
from seedbed.storage.fsspec_connections import Connection
from seedbed.storage.object_limits import DOCUMENT, ObjectLimit
from seedbed.storage.remote_errors import translate_error
from seedbed.storage.storage_errors import (
    DamagedObject,
    OversizedObject,
    ShortRead,
    require_full_range,
    unwritable,
)
from seedbed.storage.storage_urls import join_url, printable_url, require_relative
from seedbed_api.errors import InfrastructureError, UserError, refusal
from seedbed_api.exponential_backoff import ExponentialBackoff

ATTEMPTS = 6
BACKOFF = ExponentialBackoff(first=0.1, longest=4.0)
KEYS_PER_PAGE = 1000
_ASK_FIRST_BYTES = 1 << 20

_MEMORY_LOCK = threading.Lock()
_JITTER = random.Random()
"""A generator of its own: the default one belongs to the model while it trains."""
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class RemoteStorage:
    """A prefix of a remote store; `url` is safe to print."""

    connection: Connection
    address: str
    """The full URL, credentials included."""
    retry_seconds: float = 0.0
    """How long to retry while a store does not answer, with at least `ATTEMPTS` attempts."""

    @property
    def url(self) -> str:
        """Return the URL without credentials."""
        return printable_url(self.address)

    def __repr__(self) -> str:
        return f"RemoteStorage({self.url!r})"

    def read(self, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        """Return the whole object."""
        scheme, most = self.connection.scheme, limit.most_bytes
        try:
            return self._call(path, lambda fs, key: read_whole(fs, scheme, key, most))
        except Oversized as error:
            raise OversizedObject(self._shown(path), error.size, limit) from error

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`; `ShortRead` where the object ends before."""
        if length == 0:
            return b""
        try:
            data = self._call(path, lambda fs, key: self._range(fs, key, start, length))
        except ShortRead:  # status 416: the object ends before `start`
            data = b""
        except Oversized:
            fix = "serve it by a server with ranges, or copy it to a folder or bucket"
            message = refusal("uri", self._shown(path), "the server ignores Range requests", fix)
            raise UserError("RangesUnsupported", message) from None
        return require_full_range(data, shown=self._shown(path), start=start, length=length)

    def _range(self, fs: Any, key: str, start: int, length: int) -> bytes:
        if self.connection.scheme in {"http", "https"}:
            return read_http(fs, key, length, {"Range": f"bytes={start}-{start + length - 1}"})
        return bytes(fs.cat_file(key, start=start, end=start + length))

    def exists(self, path: str) -> bool:
        """Return whether an object is there."""
        try:
            return self._call(path, lambda fs, key: bool(fs.info(key)["type"] == "file"))
        except FileNotFoundError:
            return False

    def size(self, path: str) -> int:
        """Return the object's size in bytes."""
        info: dict[str, Any] = self._call(path, lambda fs, key: dict(fs.info(key)))
        if info["type"] != "file":
            raise FileNotFoundError(2, "no such object", self._shown(path))
        if info["size"] is None:
            fix = "serve it by a server that sends Content-Length"
            message = refusal("uri", self._shown(path), "the server does not report its size", fix)
            raise UserError("RangesUnsupported", message)
        return int(info["size"])

    def list(self, prefix: str = "") -> list[str]:
        """Return the objects below the folder `prefix`, sorted."""
        prefix = prefix.strip("/")
        try:
            found = self._call(prefix or ".", lambda fs, key: list(fs.find(key)))
        except FileNotFoundError:
            return []
        base = str(self.connection.fs._strip_protocol(self.address)).rstrip("/") + "/"
        names = (self._name(key[len(base) :]) for key in found if key.startswith(base))
        return sorted(
            name for name in names if name.startswith(f"{prefix}/" if prefix else "") and name[-1] != "/"
        )

    def paths(self) -> Iterator[str]:
        """Yield all objects in any order; those of a bucket page by page: a list may not fit into memory."""
        if self.connection.scheme == "s3":
            yield from self._s3_paths()
        elif hasattr(self.connection.fs, "page"):
            yield from self._paths_by_page()
        else:
            yield from self.list()

    def _paths_by_page(self) -> Iterator[str]:
        prefix, following = self.connection.fs.folder_prefix(self.address), None
        while True:
            page = self._call(".", partial(_page_of, following=following, most=KEYS_PER_PAGE))
            yield from (key[len(prefix) :] for key in page.keys if key[-1] != "/")
            following = page.following
            if following is None:
                return

    def _s3_paths(self) -> Iterator[str]:
        bucket, prefix, _ = self.connection.fs.split_path(self.address)
        prefix = f"{prefix.rstrip('/')}/" if prefix else ""
        wanted = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": KEYS_PER_PAGE}
        while True:
            page = self._page(wanted)
            keys = (str(found["Key"])[len(prefix) :] for found in page.get("Contents", ()))
            yield from (key for key in keys if key and key[-1] != "/")
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def _page(self, wanted: dict[str, Any]) -> dict[str, Any]:
        return self._call(".", lambda fs, _key: dict(fs.call_s3("list_objects_v2", **wanted)))

    def create(self, path: str, data: bytes) -> bool:
        """Write an object that is not there yet, by conditional put; False where one is.

        If an answer is lost, a retry finds our own object and returns False: compare the bytes.
        """
        if len(data) > _ASK_FIRST_BYTES and self.exists(path):
            return False  # a server that refuses early closes the connection, which looks like a failure
        try:
            self._put(path, data, mode="create")
        except FileExistsError:
            return False
        return True

    def put(self, path: str, data: bytes) -> None:
        """Write or replace an object."""
        self._put(path, data, mode="overwrite")

    def delete(self, path: str) -> None:
        """Remove an object if it is there."""
        self._check_writable(path)
        with contextlib.suppress(FileNotFoundError):
            self._call(path, lambda fs, key: fs.rm_file(key), writing=True)

    def child(self, path: str) -> RemoteStorage:
        """Return the storage of a folder below, over the same connection."""
        address = join_url(self.address, self._escaped(require_relative(path.strip("/"))))
        return replace(self, address=address)

    def _put(self, path: str, data: bytes, *, mode: str) -> None:
        self._check_writable(path)
        options = self.connection.put_options
        guard = _MEMORY_LOCK if self.connection.scheme == "memory" else contextlib.nullcontext()
        with guard:
            self._call(path, lambda fs, key: fs.pipe_file(key, data, mode=mode, **options), writing=True)

    def _check_writable(self, path: str) -> None:
        if not self.connection.writable:
            raise unwritable(self._shown(path), f"{self.connection.scheme} can be read, not written")

    def _call(self, path: str, operation: Callable[[Any, str], _T], *, writing: bool = False) -> _T:
        key = self.address if path == "." else join_url(self.address, self._escaped(require_relative(path)))
        attempt, began = 1, time.monotonic()
        while True:
            try:
                return operation(self.connection.fs, key)
            except Oversized:
                raise
            except Exception as error:
                failure = translate_error(
                    error, shown=self._shown(path), keys=self.connection.keys, writing=writing
                )
                if not self._should_retry(failure, attempt=attempt, waited=time.monotonic() - began):
                    raise failure from error
            time.sleep(BACKOFF.delay(attempt) * _JITTER.uniform(0.5, 1.0))
            attempt += 1

    def _should_retry(self, failure: Exception, *, attempt: int, waited: float) -> bool:
        """Return whether to retry: a store may come back; damaged objects are read again a few times only."""
        if isinstance(failure, DamagedObject):
            return attempt < ATTEMPTS
        patient = attempt < ATTEMPTS or waited < self.retry_seconds
        return isinstance(failure, InfrastructureError) and patient

    def _shown(self, path: str) -> str:
        return printable_url(join_url(self.address, path))

    def _escaped(self, path: str) -> str:
        return quote(path) if self.connection.scheme in {"http", "https"} else path

    def _name(self, key: str) -> str:
        return unquote(key) if self.connection.scheme in {"http", "https"} else key


def _page_of(fs: Any, key: str, *, following: str | None, most: int) -> Any:
    from fsspec.asyn import sync

    return sync(fs.loop, fs.page, key, following, most)
