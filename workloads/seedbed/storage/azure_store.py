"""Azure Blob Storage by Azure's own client: exclusive creation is an upload with `If-None-Match: *`.

adlfs is not used: it takes no transport, so its connections could not be guarded, and it retries by itself.
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ssl import SSLContext
from typing import Any

from azure.core.credentials import AzureSasCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
)
from azure.core.pipeline.transport import AioHttpTransport
from azure.storage.blob.aio import BlobClient, BlobServiceClient
from fsspec.implementations.http import HTTPFileSystem

from seedbed.storage.bounded_read import Oversized
from seedbed.storage.http_guard import RefusedPlace, guarded_client
from seedbed.storage.object_store import (
    CONNECT_SECONDS,
    NO_BUCKET,
    READ_SECONDS,
    ObjectStore,
    Page,
    StoreRefusal,
    require_md5,
)
from seedbed.storage.secret_folder import AZURE_KEYS, Secret
from seedbed_api.errors import UserError, refusal

_ONE_PUT_BYTES = 64 << 20
"""Larger objects go in blocks, and get their name by one conditional request."""
_OPTIONS = {
    "retry_total": 0,
    "permit_redirects": False,
    "connection_timeout": CONNECT_SECONDS,
    "read_timeout": READ_SECONDS,
    "max_single_put_size": _ONE_PUT_BYTES,
    "max_block_size": _ONE_PUT_BYTES,
    "max_single_get_size": _ONE_PUT_BYTES,
    "max_chunk_get_size": _ONE_PUT_BYTES,
}
_NO_CONTAINER = frozenset({"ContainerNotFound", "ContainerBeingDeleted", "ContainerDisabled"})
_EXISTS = frozenset({"BlobAlreadyExists", "ConditionNotMet"})


@dataclass(frozen=True, kw_only=True, slots=True, repr=False)
class _Account:
    """What opens a storage account: the first of these that is there."""

    connection: str | None
    url: str
    key: dict[str, str] | None
    signature: str | None
    identity: Mapping[str, str | None]
    """An application by tenant, id and secret; else the identity of this workload or machine."""

    def application(self) -> Any:
        """Return credentials that ask for tokens."""
        from azure.identity import ClientSecretCredential, DefaultAzureCredential

        tenant, client, secret = self.identity.values()
        if tenant and client and secret:
            return _Tokens(ClientSecretCredential(tenant, client, secret))
        return _Tokens(DefaultAzureCredential())


@dataclass(frozen=True)
class _Tokens:
    """Tokens asked for in a thread: the sessions of the asynchronous credentials would have to be closed."""

    credential: Any

    async def get_token(self, *scopes: str, **options: Any) -> Any:
        return await asyncio.to_thread(self.credential.get_token, *scopes, **options)

    async def close(self) -> None:
        self.credential.close()


class AzureStore(ObjectStore):
    """Containers of one storage account."""

    protocol = ("az", "abfs", "abfss")

    def __init__(self, *, account: _Account, options: Mapping[str, Any]) -> None:
        super().__init__()
        self._account, self._options = account, options
        self._client: BlobServiceClient | None = None

    async def read_whole(self, path: str, most: int) -> bytes:
        """Return an object, and compare the MD5 in the store where it came in one request."""
        async with self._blob(path) as blob:
            stream = await blob.download_blob(max_concurrency=1)
            size = int(stream.properties.size)
            if size > most:
                raise Oversized(size)
            data = bytes(await stream.readall())
            return require_md5(data, stream.properties.content_settings.content_md5, path)

    async def page(self, path: str, following: str | None, most: int) -> Page:
        """Return one page of a listing."""
        bucket, _ = self.split(path)
        prefix = self.folder_prefix(path)
        async with _told():
            container = (await self._opened()).get_container_client(bucket)
            listed = container.list_blobs(prefix or None, include=["metadata"], results_per_page=most)
            pages: Any = listed.by_page(following)
            found = [blob async for blob in await anext(pages)]
        return Page(
            [str(blob.name) for blob in found if not _is_folder(blob)], pages.continuation_token or None
        )

    async def _info(self, path: str, **_options: Any) -> dict[str, Any]:
        async with self._blob(path) as blob:
            found = await blob.get_blob_properties()
        if _is_folder(found):
            raise StoreRefusal(404)
        return {"name": path, "type": "file", "size": int(found.size)}

    async def _cat_file(self, path: str, start: int = 0, end: int | None = None, **_options: Any) -> bytes:
        assert end is not None, "ranges alone: whole objects have a bound"
        async with self._blob(path) as blob:
            stream = await blob.download_blob(offset=start, length=end - start, max_concurrency=1)
            return bytes(await stream.readall())

    async def _pipe_file(self, path: str, value: bytes, mode: str = "overwrite", **_options: Any) -> None:
        async with self._blob(path) as blob:
            await blob.upload_blob(value, overwrite=mode != "create", max_concurrency=1)

    async def _rm_file(self, path: str, **_options: Any) -> None:
        async with self._blob(path) as blob:
            await blob.delete_blob(delete_snapshots="include")

    @asynccontextmanager
    async def _blob(self, path: str) -> AsyncIterator[BlobClient]:
        bucket, key = self.split(path)
        if not key:
            raise StoreRefusal(404)
        async with _told():
            yield (await self._opened()).get_blob_client(bucket, key)

    async def _opened(self) -> BlobServiceClient:
        """Return the client, opened at first use in the loop that it works in."""
        if self._client is None:
            session = await guarded_client(auto_decompress=False, trust_env=True)
            weakref.finalize(self, HTTPFileSystem.close_session, self.loop, session)
            transport = AioHttpTransport(session=session, session_owner=False)
            self._client = _service(self._account, {**_OPTIONS, **self._options, "transport": transport})
        return self._client


@asynccontextmanager
async def _told() -> AsyncIterator[None]:
    """Translate what a store refuses; broken connections keep their errors."""
    try:
        yield
    except IncompleteReadError as error:
        raise ConnectionError("the answer ended early") from error
    except HttpResponseError as error:
        raise _refused(error) from None


def _refused(error: HttpResponseError) -> Exception:
    status, code = error.status_code, str(getattr(error, "error_code", None) or "")
    if status is None:
        known = isinstance(error, ClientAuthenticationError)
        return StoreRefusal(401, "no usable credentials") if known else ConnectionError(type(error).__name__)
    if code in _NO_CONTAINER:
        return StoreRefusal(404, NO_BUCKET)
    if code in _EXISTS and _method(error) in ("PUT", None):
        return FileExistsError(17, "object exists")
    if status == 412:  # another version was written between two parts of a read
        return StoreRefusal(503, code)
    if 300 < status < 309 and status != 304:
        return RefusedPlace(f"the endpoint redirects ({status})")
    return StoreRefusal(status, code)


def _method(error: HttpResponseError) -> str | None:
    """Return the method of the request that was refused, if it is known."""
    request: Any = error.response and error.response.request
    return str(request.method) if request else None


def _is_folder(blob: Any) -> bool:
    """Return whether a blob stands for a folder, as accounts with a hierarchical namespace list them."""
    return str((blob.metadata or {}).get("hdi_isfolder", "")).lower() == "true"


def open_store(_scheme: str, secret: Secret, _tls: SSLContext | None) -> AzureStore:
    """Open the storage account of a secret, else the one that the environment names."""
    given = secret.values if any(name in secret.values for name in AZURE_KEYS) else os.environ
    options = {"connection_verify": str(secret.certificate)} if secret.certificate else {}
    account = _account(given)
    try:
        _service(account, {})
    except (AzureError, ValueError, KeyError, TypeError) as error:
        problem = f"cannot be used ({type(error).__name__})"
        fix = "copy the connection string, or the name of the account and its key, from Azure"
        raise UserError("SecretNotFound", refusal("secretRef", "AZURE_STORAGE_…", problem, fix)) from None
    return AzureStore(account=account, options=options)


def _account(given: Mapping[str, str]) -> _Account:
    connection, account, key, sas, endpoint = (given.get(name) for name in AZURE_KEYS[:5])
    if not (connection or account or endpoint):
        problem, fix = "is not set, and az:// names no storage account", f"set it, or {AZURE_KEYS[0]}"
        raise UserError("StorageDenied", refusal("secretRef", AZURE_KEYS[1], problem, fix))
    return _Account(
        connection=connection,
        url=endpoint or f"https://{account}.blob.core.windows.net",
        key={"account_name": account or "", "account_key": key} if key else None,
        signature=sas,
        identity={name: given.get(name) for name in AZURE_KEYS[5:]},
    )


def _service(account: _Account, options: Mapping[str, Any]) -> BlobServiceClient:
    if account.connection:
        return BlobServiceClient.from_connection_string(account.connection, **options)
    signature = AzureSasCredential(account.signature.lstrip("?")) if account.signature else None
    return BlobServiceClient(
        account.url, credential=account.key or signature or account.application(), **options
    )
