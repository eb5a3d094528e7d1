"""Read the whole object of a remote store, but never more of it than a bound.

Stores tell a size before the bytes, which is looked at first; one that tells none, or a wrong one, is read in
pieces. `Oversized` goes to `RemoteStorage`, which names the object.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PIECE_BYTES = 1 << 20


class Oversized(Exception):  # noqa: N818 - it is told as an OversizedObject
    """An object is larger than it may be; `size` is None where nobody told it."""

    def __init__(self, size: int | None) -> None:
        super().__init__(size)
        self.size = size


def read_whole(fs: Any, scheme: str, key: str, most: int) -> bytes:
    """Return the bytes of an object that has at most `most`. Raises Oversized, or errors of fsspec."""
    if scheme == "s3":
        return _synchronous(fs, _read_s3, key, most)
    if scheme in {"http", "https"}:
        return read_http(fs, key, most)
    if hasattr(fs, "read_whole"):  # an ObjectStore, whose module imports what others need not
        return _synchronous(fs, lambda store, *given: store.read_whole(*given), key, most)
    data = bytes(fs.cat_file(key, start=0, end=most + 1))
    if len(data) > most:
        raise Oversized(fs.info(key).get("size"))
    return data


def read_http(fs: Any, url: str, most: int, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the answer of an HTTP server, which may ignore a range that was asked for."""
    return _synchronous(fs, _read_http, url, most, headers or {})


def _synchronous(fs: Any, read: Any, *arguments: Any) -> bytes:
    from fsspec.asyn import sync

    data: bytes = sync(fs.loop, read, fs, *arguments)
    return data


async def _read_s3(fs: Any, path: str, most: int) -> bytes:
    """Return an object in one request, so that its checksum in the store is compared."""
    bucket, key, version = fs.split_path(path)
    named = {"VersionId": version} if version else {}
    answer = await fs._call_s3("get_object", Bucket=bucket, Key=key, **named)
    body = answer["Body"]
    try:
        size = answer.get("ContentLength")
        if size is None:
            return await in_pieces(body, most)
        if size > most:
            raise Oversized(size)
        return bytes(await body.read())
    finally:
        body.close()


async def _read_http(fs: Any, url: str, most: int, headers: Mapping[str, str]) -> bytes:
    options = {**fs.kwargs, "headers": {**fs.kwargs.get("headers", {}), **headers}}
    session = await fs.set_session()
    async with session.get(fs.encode_url(url), **options) as answer:
        fs._raise_not_found_for_status(answer, url)
        size = None if "Content-Encoding" in answer.headers else answer.content_length
        if size is not None and size > most:
            answer.close()
            raise Oversized(size)
        return await in_pieces(answer.content, most)


async def in_pieces(body: Any, most: int) -> bytes:
    """Return all bytes of a body, which has at most `most`. Raises Oversized."""
    pieces, size = [], 0
    while piece := await body.read(_PIECE_BYTES):
        size += len(piece)
        if size > most:
            raise Oversized(None)
        pieces.append(piece)
    return b"".join(pieces)
