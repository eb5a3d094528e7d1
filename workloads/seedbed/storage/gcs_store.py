"""Google Cloud Storage by its JSON API: exclusive creation is an upload with `ifGenerationMatch=0`.

google-auth brings the credentials, also those of a workload. gcsfs would bring gRPC, retries of its own, a
pickle in the home folder, and uploads that end early where the bytes look like its separator.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from pathlib import Path
from ssl import SSLContext
from typing import Any
from urllib.parse import quote

import aiohttp
import google.auth
from google.auth import identity_pool
from google.auth.credentials import Credentials
from google.auth.exceptions import DefaultCredentialsError, GoogleAuthError
from google.auth.transport.requests import Request
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials as UserCredentials
from yarl import URL

from seedbed.storage.object_store import (
    NO_BUCKET,
    HttpSession,
    ObjectStore,
    Page,
    StoreRefusal,
    read_bounded,
    read_json,
    require_md5,
    require_no_redirect,
)
from seedbed.storage.secret_folder import EMULATOR, GCS_KEYS, Secret
from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_ENDPOINT = "https://storage.googleapis.com"
_MD5 = re.compile(r"\bmd5=([A-Za-z0-9+/=]+)")


class GcsStore(ObjectStore):
    """Buckets of one endpoint, with one identity; anonymous without credentials."""

    protocol = ("gs", "gcs")

    def __init__(
        self, *, session: HttpSession, credentials: Credentials | None, endpoint: str | None, **options: Any
    ) -> None:
        super().__init__(**options)
        self._session, self._credentials = session, credentials
        self._endpoint = (endpoint or _ENDPOINT).rstrip("/")
        self._refreshing = threading.Lock()
        self._seen: set[str] = set()

    async def read_whole(self, path: str, most: int) -> bytes:
        """Return an object in one request, and compare the MD5 in the store."""
        async with await self._object("GET", path, alt="media") as answer:
            data = await read_bounded(answer, most)
            kept = _MD5.search(",".join(answer.headers.getall("x-goog-hash", [])))
            whole = answer.status == 200 and "Content-Encoding" not in answer.headers
            return require_md5(data, kept[1] if kept and whole else None, path)

    async def page(self, path: str, following: str | None, most: int) -> Page:
        """Return one page of a listing."""
        bucket, _ = self.split(path)
        query = {"prefix": self.folder_prefix(path), "maxResults": str(most)}
        query |= {"fields": "items(name),nextPageToken"} | ({"pageToken": following} if following else {})
        async with await self._call(
            "GET", bucket, f"/storage/v1/b/{quote(bucket, safe='')}/o", query
        ) as answer:
            found = await read_json(answer)
        return Page(
            [str(item["name"]) for item in found.get("items", ())], found.get("nextPageToken") or None
        )

    async def _info(self, path: str, **_options: Any) -> dict[str, Any]:
        async with await self._object("GET", path, fields="size") as answer:
            found = await read_json(answer)
        return {"name": path, "type": "file", "size": int(found["size"])}

    async def _cat_file(self, path: str, start: int = 0, end: int | None = None, **_options: Any) -> bytes:
        assert end is not None, "ranges alone: whole objects have a bound"
        headers = {"Range": f"bytes={start}-{end - 1}"}
        async with await self._object("GET", path, headers=headers, alt="media") as answer:
            return await read_bounded(answer, end - start)

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        bucket, key = self.split(path)
        query = {"uploadType": "media", "name": key} | (
            {"ifGenerationMatch": "0"} if mode == "create" else {}
        )
        place = f"/upload/storage/v1/b/{quote(bucket, safe='')}/o"
        headers = {"Content-Type": "application/octet-stream"}
        async with await self._call("POST", bucket, place, query, data=value, headers=headers) as answer:
            await answer.read()

    async def _rm_file(self, path: str, **_options: Any) -> None:
        async with await self._object("DELETE", path) as answer:
            await answer.read()

    async def _object(
        self, method: str, path: str, headers: dict[str, str] | None = None, **query: str
    ) -> aiohttp.ClientResponse:
        bucket, key = self.split(path)
        place = f"/storage/v1/b/{quote(bucket, safe='')}/o/{quote(key, safe='')}"
        try:
            return await self._call(method, bucket, place, query, headers=headers)
        except StoreRefusal as refusal:
            if refusal.status != 404 or refusal.code or bucket in self._seen:
                raise
        await self.page(bucket, None, 1)  # says whether the bucket is there, which some answers leave open
        raise StoreRefusal(404)

    async def _call(
        self, method: str, bucket: str, place: str, query: dict[str, str], **options: Any
    ) -> aiohttp.ClientResponse:
        """Return an answer that is no error. Raises StoreRefusal and RefusedPlace."""
        headers = {**(options.pop("headers", None) or {}), **await self._authorization()}
        whole = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
        url = URL(f"{self._endpoint}{place}?{whole}", encoded=True)
        answer = await self._session.request(self, method, url, headers=headers, **options)
        require_no_redirect(answer)
        if answer.status < 400:
            self._seen.add(bucket)
            return answer
        async with answer:
            raise _refusal(answer.status, (await answer.content.read(4096)).decode(errors="replace"), place)

    async def _authorization(self) -> dict[str, str]:
        credentials = self._credentials
        if credentials is None:
            return {}
        if not credentials.valid:
            await asyncio.to_thread(self._refresh, credentials)
        return {"Authorization": f"Bearer {credentials.token}"}

    def _refresh(self, credentials: Credentials) -> None:
        with self._refreshing:
            if credentials.valid:
                return
            try:
                credentials.refresh(Request())
            except GoogleAuthError as error:
                if error.retryable or type(error).__name__ == "TransportError":
                    raise
                raise StoreRefusal(401, "InvalidCredentials") from None


def open_store(_scheme: str, secret: Secret, tls: SSLContext | None) -> GcsStore:
    """Open Google Cloud Storage with a secret, else with what environment and machine have."""
    given = secret.values if any(name in secret.values for name in GCS_KEYS) else os.environ
    return GcsStore(
        session=HttpSession(tls=tls),
        credentials=_credentials(given.get(GCS_KEYS[0]), emulated=EMULATOR in given),
        endpoint=_endpoint(given.get(EMULATOR)),
    )


def _credentials(key: str | None, *, emulated: bool) -> Credentials | None:
    """Return the credentials of a JSON key or its file, or those of this machine, if it has any."""
    if key is None and emulated:
        return None
    try:
        if key is None:
            found: Credentials = google.auth.default(scopes=[_SCOPE])[0]
            return found
        return _of_key(parse_json(key if key.lstrip().startswith("{") else Path(key).read_text()))
    except (GoogleAuthError, OSError, ValueError, KeyError, TypeError) as error:
        if key is None and isinstance(error, DefaultCredentialsError):
            return None  # public buckets need none
        problem = f"holds no JSON key of Google Cloud and names no file with one ({type(error).__name__})"
        fix = "put the contents of a key file there"
        raise UserError("SecretNotFound", refusal("secretRef", GCS_KEYS[0], problem, fix)) from None


def _of_key(key: dict[str, Any]) -> Credentials:
    """Return the credentials of a service account, a user, or a workload of another issuer."""
    makers: dict[str, Any] = {
        "service_account": service_account.Credentials.from_service_account_info,
        "authorized_user": UserCredentials.from_authorized_user_info,
        "external_account": identity_pool.Credentials.from_info,
    }
    found: Credentials = makers[key["type"]](key, scopes=[_SCOPE])
    return found


def _endpoint(emulator: str | None) -> str | None:
    """Return the URL of an emulator, which the variable may name by host and port alone."""
    if not emulator:
        return None
    return emulator if emulator.startswith(("http://", "https://")) else f"http://{emulator}"


def _refusal(status: int, body: str, place: str) -> StoreRefusal:
    listing = place.endswith("/o")
    if status == 404 and (listing or "bucket does not exist" in body):
        return StoreRefusal(404, NO_BUCKET)
    return StoreRefusal(status)
