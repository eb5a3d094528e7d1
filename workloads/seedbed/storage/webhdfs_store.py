"""HDFS by WebHDFS: an object is written aside, then renamed, which may not replace where it is created.

CREATE with overwrite=false would be exclusive, too, but others would see the file while it is being written,
and a kill would leave a part of it. fsspec's client replaces what is there, and follows every redirect.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from ssl import SSLContext
from typing import Any
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from seedbed.storage.http_guard import RefusedPlace
from seedbed.storage.local_storage import TEMPORARY_PREFIX
from seedbed.storage.object_store import (
    HttpSession,
    ObjectStore,
    Page,
    StoreRefusal,
    read_bounded,
    read_json,
    require_no_redirect,
)
from seedbed.storage.redirect_policy import is_local_host, redirect_problem
from seedbed.storage.secret_folder import HDFS_KEYS, Secret
from seedbed_api.strict_json import parse_json

_REST = "/webhdfs/v1"
_PORTS = {"webhdfs": 9870, "swebhdfs": 9871}
_LATER = frozenset({"RetriableException", "SafeModeException", "StandbyException", "ServerTooBusyException"})
_FULL = frozenset({"DSQuotaExceededException", "NSQuotaExceededException", "QuotaExceededException"})
_DENIED = frozenset({"AuthenticationException", "SecurityException"})
_AT_DATA_NODES = frozenset({"CREATE", "OPEN"})
_ABSENT = frozenset({"FileNotFoundException", "ParentNotDirectoryException"})


class WebHdfsStore(ObjectStore):
    """The name nodes that URLs name, by one user. What would be a bucket is host and port."""

    protocol = ("webhdfs", "swebhdfs")

    def __init__(self, *, scheme: str, session: HttpSession, user: Mapping[str, str]) -> None:
        super().__init__()
        self._scheme, self._session, self._user = scheme, session, user

    async def read_whole(self, path: str, most: int) -> bytes:
        """Return a file; its data node tells the size before the bytes."""
        async with await self._open(path) as answer:
            return await read_bounded(answer, most)

    async def page(self, path: str, following: str | None, most: int) -> Page:
        """Return the next files; a name node decides how many. `following` holds the folders to look into."""
        del most
        host, folder = self.split(path)
        waiting: list[list[str]] = parse_json(following) if following else [[folder.rstrip("/"), ""]]
        inside, after = waiting.pop()
        keys: list[str] = []
        try:
            listing = await self._listing(host, inside, after)
        except StoreRefusal as refusal:
            if refusal.status != 404:
                raise
            listing = {"partialListing": {"FileStatuses": {"FileStatus": []}}}
        names = listing["partialListing"]["FileStatuses"]["FileStatus"]
        if listing.get("remainingEntries") and names:
            waiting.append([inside, str(names[-1]["pathSuffix"])])
        for found in names:
            name = str(found["pathSuffix"])
            key = f"{inside}/{name}" if inside else name
            if found["type"] == "DIRECTORY":
                waiting.append([key, ""])
            elif name and not name.startswith(TEMPORARY_PREFIX):
                keys.append(key)
        return Page(keys, json.dumps(waiting) if waiting else None)

    async def _listing(self, host: str, folder: str, after: str) -> dict[str, Any]:
        more = {"startAfter": after} if after else {}
        answer = await self._json("GET", f"{host}/{folder}", "LISTSTATUS_BATCH", **more)
        return dict(answer["DirectoryListing"])

    async def _info(self, path: str, **_options: Any) -> dict[str, Any]:
        found = (await self._json("GET", path, "GETFILESTATUS"))["FileStatus"]
        if found["type"] != "FILE":
            raise StoreRefusal(404)
        return {"name": path, "type": "file", "size": int(found["length"])}

    async def _cat_file(self, path: str, start: int = 0, end: int | None = None, **_options: Any) -> bytes:
        assert end is not None, "ranges alone: whole files have a bound"
        async with await self._open(path, offset=str(start), length=str(end - start)) as answer:
            return await read_bounded(answer, end - start)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        folder, _, _ = path.rpartition("/")
        aside = f"{folder}/{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
        try:
            await self._write(aside, value)
            await self._named(aside, path, replace=mode != "create")
        except BaseException:
            with contextlib.suppress(Exception):
                await self._rm_file(aside)
            raise

    async def _write(self, path: str, value: bytes) -> None:
        answer = await self._call("PUT", path, "CREATE", overwrite="false")
        async with await self._at_data_node("PUT", answer, data=value) as written:
            await written.read()

    async def _named(self, aside: str, path: str, *, replace: bool) -> None:
        """Rename a file of ours; one that is gone was renamed by a request whose answer was lost."""
        ours = await self._number(aside)
        try:
            await self._rename(aside, path, replace=replace)
        except StoreRefusal as refusal:
            if refusal.status != 404 or await self._number(path) != ours:
                raise
            if not replace:
                raise FileExistsError(17, "file exists") from None

    async def _number(self, path: str) -> int:
        """Return the number of a file, which it keeps when it is renamed."""
        return int((await self._json("GET", path, "GETFILESTATUS"))["FileStatus"]["fileId"])

    async def _rename(self, aside: str, path: str, *, replace: bool) -> None:
        _, key = self.split(path)
        option = "OVERWRITE" if replace else "NONE"
        async with await self._call(
            "PUT", aside, "RENAME", destination=f"/{key}", renameoptions=option
        ) as answer:
            body = await answer.read()
        if body and parse_json(body).get("boolean") is False:  # a gateway that knows no options
            raise FileExistsError(17, "file exists")

    async def _rm_file(self, path: str, **_options: Any) -> None:
        await self._json("DELETE", path, "DELETE", recursive="false")

    async def _open(self, path: str, **parameters: str) -> aiohttp.ClientResponse:
        answer = await self._call("GET", path, "OPEN", **parameters)
        return await self._at_data_node("GET", answer)

    async def _at_data_node(
        self, method: str, answer: aiohttp.ClientResponse, **options: Any
    ) -> aiohttp.ClientResponse:
        """Return the answer of the data node that a name node names; a gateway may have answered itself."""
        if answer.status != 307:
            if method == "PUT":  # nothing was sent yet
                answer.close()
                raise StoreRefusal(502, "NoDataNode")
            return answer
        async with answer:
            target = answer.headers.get("Location", "")
        problem = _redirect_problem(str(answer.url), target)
        if problem:
            raise RefusedPlace(problem)
        headers = {"Content-Type": "application/octet-stream"}
        options |= {"headers": headers, "trace_request_ctx": {"local": is_local_host(answer.url.host or "")}}
        there = await self._session.request(self, method, URL(target, encoded=True), **options)
        require_no_redirect(there)
        return await _accepted(there)

    async def _json(self, method: str, path: str, operation: str, **parameters: str) -> dict[str, Any]:
        async with await self._call(method, path, operation, **parameters) as answer:
            return dict(await read_json(answer))

    async def _call(
        self, method: str, path: str, operation: str, **parameters: str
    ) -> aiohttp.ClientResponse:
        host, key = self.split(path)
        user, _, place = host.rpartition("@")
        query = {"op": operation, **parameters, **({"user.name": user} if user else self._user)}
        whole = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        web = "https" if self._scheme == "swebhdfs" else "http"
        port = "" if urlsplit(f"//{place}").port else f":{_PORTS[self._scheme]}"
        url = URL(f"{web}://{place}{port}{_REST}/{quote(key)}?{whole}", encoded=True)
        answer = await self._session.request(self, method, url)
        if operation not in _AT_DATA_NODES or answer.status != 307:
            require_no_redirect(answer)
        return await _accepted(answer)


async def _accepted(answer: aiohttp.ClientResponse) -> aiohttp.ClientResponse:
    """Return an answer that is no error. Raises what the error says."""
    if answer.status < 400:
        return answer
    async with answer:
        body = (await answer.content.read(65536)).decode(errors="replace")
    raise _refusal(answer.status, body)


def _refusal(status: int, body: str) -> Exception:
    """Translate an exception of Java, whose status may be 403 for anything that went wrong with a file."""
    try:
        told = parse_json(body)["RemoteException"]
        name, message = str(told["exception"]), str(told["message"])
    except (ValueError, KeyError, TypeError):
        return StoreRefusal(status)
    if name == "FileAlreadyExistsException":
        return FileExistsError(17, "file exists")
    if name in _ABSENT or "is not a directory" in message:
        return StoreRefusal(404)
    if message.startswith("Offset="):
        return StoreRefusal(416)
    if name in _LATER or (name == "IOException" and status == 403):
        return StoreRefusal(503, name)
    if name in _FULL:
        return StoreRefusal(507, "QuotaExceeded")
    return StoreRefusal(401 if name in _DENIED else status, name)


def _redirect_problem(here: str, target: str) -> str | None:
    """Return why a data node is not asked: it must be asked for the same file, by the same operation."""
    first, then = URL(here, encoded=True), URL(target, encoded=True)
    same = first.path == then.path and first.query.get("op") == then.query.get("op")
    if not same:
        return "redirects to something else than the same file at a data node"
    return redirect_problem(here, here, target, allowed=None)


def open_store(scheme: str, secret: Secret, tls: SSLContext | None) -> WebHdfsStore:
    """Open HDFS as the user, or with the delegation token, of a secret or the environment."""
    given = secret.values if any(name in secret.values for name in HDFS_KEYS) else os.environ
    user, token = (given.get(name) for name in HDFS_KEYS)
    who = {"delegation": token} if token else {"user.name": user} if user else {}
    return WebHdfsStore(scheme=scheme, session=HttpSession(tls=tls), user=who)
