"""Fetch the images that rows name by URL: some at a time, once each, and tell those that failed.

The fetches go through the storage: its retries, its time limits, its guard of addresses and redirects. No
credentials are sent, as the hosts are named by data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from urllib.parse import quote, urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.source_listing import LISTING_SCHEMA, SourceListing, decode_path, encode_path
from seedbed.dataset.sources.image_spill import ImageSpill
from seedbed.storage import DamagedObject, ObjectLimit, Storage, UnreadableObject, open_storage, printable_url
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from seedbed_api.printable_text import without_credentials

URL = r"^(?i:https?|s3)://"
"""What is fetched; other schemes lead to files of this machine, or nowhere."""
_AT_ONCE = 16
_BATCH = 64
_IMAGE = ObjectLimit(kind="an image behind a URL", most_bytes=128 << 20)
_KEPT = "%/:?&=+,;@#!$'()*[]~"
"""What stays as it is in a URL; blanks and letters beyond ASCII are escaped, as browsers do."""
_HOST = re.compile(r"[^\s%/?#@\\<>\"^`{|}]+")
_PAGE = (b"<!doctype html", b"<html")

Fetched = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer:
    image: bytes = b""
    reason: str | None = None
    failure: SeedbedError | None = None
    """A failure that a retry may fix."""


def is_url(path: str) -> bool:
    """Return whether the image of a row is to be fetched."""
    return re.match(URL, path.strip()) is not None


def url_problem(url: str) -> str | None:
    """Return what is wrong with a URL as it is written: no server and no retry can mend it."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        if parts.scheme.lower() != "s3" and ":" not in host:  # an IPv6 address is checked already
            host.encode("idna")
    except ValueError as error:
        return f"it is no URL: {' '.join(str(error).split())[:200]}"
    bucket = parts.scheme.lower() == "s3"
    if not host:
        return "it names no bucket" if bucket else "it names no host"
    if not _HOST.fullmatch(host) or port == 0:
        return "it is no URL: its host or port cannot be one"
    return "it names no object of the bucket" if bucket and parts.path in ("", "/") else None


def fetch_images(listing: SourceListing, *, skip: bool, fetched: Fetched = lambda *_: None) -> SourceListing:
    """Return the listing with the images of its URLs fetched.

    With `skip`, hosts that do not answer are refused rows like pages that are gone; without, or where no URL
    could be fetched, `InfrastructureError` names the first.
    """
    fetch = _Fetch(skip=skip, container=len(listing.containers))
    if not listing.urls:
        return listing
    files = DiskSpill(LISTING_SCHEMA)
    for table in listing.files.tables():
        files.add(_with_images(table, fetch))
        fetched(files.num_rows, listing.files.num_rows)
    if fetch.failure is not None and not fetch.images.bytes:  # no network is no empty dataset
        raise fetch.failure
    return replace(listing, files=files, containers=(*listing.containers, fetch.images.finish()))


class _Fetch:
    def __init__(self, *, skip: bool, container: int) -> None:
        self.skip = skip
        self.container = container
        self.images = ImageSpill()
        self.failure: SeedbedError | None = None

    def rows(self, rows: list[dict[str, object]]) -> Iterator[dict[str, object]]:
        """Yield rows with their images, or the reason why they have none."""
        urls = [decode_path(row["path"]) for row in rows if isinstance(row["path"], bytes)]
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for start in range(0, len(rows), _BATCH):
                answers = pool.map(_get, urls[start : start + _BATCH])
                for row, answer in zip(rows[start : start + _BATCH], answers, strict=True):
                    yield row | self._placed(answer) | {"path": _shown(row["path"])}

    def _placed(self, answer: _Answer) -> dict[str, object]:
        if answer.failure is not None:
            self.failure = self.failure or answer.failure
            if not self.skip:
                raise answer.failure
        if answer.reason is not None:
            return {"reason": answer.reason}
        start = self.images.add(answer.image)
        return {"container": self.container, "start": start, "length": len(answer.image)}


def _shown(path: object) -> bytes:
    assert isinstance(path, bytes)
    url = decode_path(path)
    return encode_path(without_credentials(url) if url_problem(url) else printable_url(url))


def _with_images(table: pa.Table, fetch: _Fetch) -> pa.Table:
    text = pc.cast(pc.fill_null(table["path"], b""), pa.large_string(), safe=False)
    remote = pc.and_(pc.match_substring_regex(text, URL), pc.is_null(table["reason"]))
    remote = pc.and_(remote, pc.is_null(table["container"]))
    rows = table.filter(remote)
    if rows.num_rows == 0:
        return table
    found = pa.Table.from_pylist(list(fetch.rows(rows.to_pylist())), LISTING_SCHEMA)
    return pa.concat_tables([table.filter(pc.invert(remote)), found])


def _get(url: str) -> _Answer:
    """Fetch one image; says why there is none."""
    problem = url_problem(url)
    if problem is not None:
        return _Answer(reason=f"bad-url: {problem}")
    try:
        image = _object(url).read(".", _IMAGE)
    except FileNotFoundError:
        return _Answer(reason="missing-file: the server has no such page (404)")
    except UnreadableObject as error:
        return _Answer(reason=f"unreadable: {error.problem}")
    except DamagedObject:
        return _Answer(reason="damaged: the store finds it damaged")
    except InfrastructureError as error:
        return _Answer(reason=f"unreachable: {error.message}"[:500], failure=error)
    except UserError as error:
        return _Answer(reason=f"unreadable: {error.message}"[:500])
    if image[:512].lstrip().lower().startswith(_PAGE):
        return _Answer(reason="not-an-image: the server answers with a web page")
    return _Answer(image=image)


def _object(url: str) -> Storage:
    from seedbed.storage.remote_storage import RemoteStorage  # asyncio and TLS: for URLs only

    scheme, _, rest = url.partition("://")
    storage = _connection(scheme.lower())
    assert isinstance(storage, RemoteStorage)
    if scheme.lower() != "s3":
        rest = quote(rest, safe=_KEPT)
    return replace(storage, address=f"{scheme.lower()}://{rest}")


@cache
def _connection(scheme: str) -> Storage:
    """Return a storage whose connection all URLs of a scheme share."""
    return open_storage(f"{scheme}://host")
