"""What the clients of object stores have in common: file systems of fsspec that answer exactly.

Each call is one request, or one per page: no redirect is followed, nothing is retried or cached, and a
refusal is a `StoreRefusal` with its status. Retries and messages are those of `RemoteStorage`.
"""

from __future__ import annotations

import base64
import hashlib
import weakref
from abc import abstractmethod
from ssl import SSLContext
from typing import Any, NamedTuple

import aiohttp
from fsspec.asyn import AsyncFileSystem
from fsspec.implementations.http import HTTPFileSystem

from seedbed.storage.bounded_read import Oversized, in_pieces
from seedbed.storage.http_guard import RefusedPlace, guarded_client
from seedbed.storage.object_limits import DOCUMENT
from seedbed.storage.storage_errors import DamagedObject
from seedbed.storage.storage_urls import printable_url
from seedbed_api.strict_json import parse_json

CONNECT_SECONDS = 10
READ_SECONDS = 60
KEYS_PER_PAGE = 1000
NO_BUCKET = "NoSuchBucket"
"""Code of a refusal: the bucket, container or file system is not there."""


class StoreRefusal(OSError):  # noqa: N818 - named like the OSErrors of Python
    """A store answered with an error: its HTTP status, and a short code where it gave one."""

    def __init__(self, status: int, code: str = "") -> None:
        super().__init__(f"status {status} {code}".strip())
        self.status = status
        self.code = code


class Page(NamedTuple):
    """Part of a listing."""

    keys: list[str]
    """Keys of objects, without the bucket."""
    following: str | None
    """Asks for the next page; None after the last one."""


class ObjectStore(AsyncFileSystem):  # type: ignore[misc]
    """A store of buckets and keys. Paths are `bucket/key`, with or without the scheme."""

    cachable = False

    @abstractmethod
    async def read_whole(self, path: str, most: int) -> bytes:
        """Return an object of at most `most` bytes. Raises Oversized."""

    @abstractmethod
    async def page(self, path: str, following: str | None, most: int) -> Page:
        """Return at most `most` objects below a folder."""

    async def _find(self, path: str, **_options: Any) -> list[str]:
        bucket, _ = self.split(path)
        found, following = [], None
        while True:
            page = await self.page(path, following, KEYS_PER_PAGE)
            found += [f"{bucket}/{key}" for key in page.keys]
            following = page.following
            if following is None:
                return found

    def split(self, path: str) -> tuple[str, str]:
        """Return bucket and key of a path."""
        bucket, _, key = str(self._strip_protocol(path)).partition("/")
        return bucket, key

    def folder_prefix(self, path: str) -> str:
        """Return the beginning of all keys below a folder."""
        _, key = self.split(path)
        return f"{key.rstrip('/')}/" if key else ""


class HttpSession:
    """The connections of one store: opened at first use, each address checked, redirects refused."""

    def __init__(self, *, tls: SSLContext | None = None) -> None:
        self._tls = tls
        self._session: aiohttp.ClientSession | None = None

    async def opened(self, fs: AsyncFileSystem) -> aiohttp.ClientSession:
        """Return the session, which ends with the file system."""
        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
            self._session = await guarded_client(timeout=timeout, trust_env=True)
            weakref.finalize(fs, HTTPFileSystem.close_session, fs.loop, self._session)
        return self._session

    async def request(
        self, fs: AsyncFileSystem, method: str, url: Any, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the answer, whatever its status but a redirect; to be closed by the caller."""
        session = await self.opened(fs)
        if self._tls is not None:
            options["ssl"] = self._tls
        return await session.request(method, url, allow_redirects=False, **options)


def require_no_redirect(answer: aiohttp.ClientResponse) -> None:
    """Raise RefusedPlace where a store sends elsewhere: credentials would go along."""
    if 300 < answer.status < 309 and answer.status != 304:
        answer.close()
        target = printable_url(answer.headers.get("Location", "").partition("?")[0])
        raise RefusedPlace(f"the endpoint redirects ({answer.status}) to {target!r}")


async def read_bounded(answer: aiohttp.ClientResponse, most: int) -> bytes:
    """Return the body of an answer, which has at most `most` bytes. Raises Oversized."""
    size = None if "Content-Encoding" in answer.headers else answer.content_length
    if size is not None and size > most:
        answer.close()
        raise Oversized(size)
    return await in_pieces(answer.content, most)


async def read_json(answer: aiohttp.ClientResponse) -> Any:
    """Return the document of an answer. Raises StoreRefusal where it is larger than any, and ValueError."""
    try:
        return parse_json(await read_bounded(answer, DOCUMENT.most_bytes))
    except Oversized:
        raise StoreRefusal(502, "the answer is too large") from None


def require_md5(data: bytes, digest: bytes | bytearray | str | None, shown: str) -> bytes:
    """Return the bytes if they have the MD5 that the store keeps, if it keeps one. Raises DamagedObject."""
    expected = base64.b64decode(digest) if isinstance(digest, str) else digest
    if expected and hashlib.md5(data, usedforsecurity=False).digest() != bytes(expected):
        raise DamagedObject(shown)
    return data
