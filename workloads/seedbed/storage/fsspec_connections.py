"""Connections to remote stores through fsspec: opened at first use, once per process, never pickled."""

from __future__ import annotations

import importlib
import os
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seedbed.storage.secret_folder import (
    AZURE_KEYS,
    CERTIFICATE,
    GCS_KEYS,
    HDFS_KEYS,
    HTTP_KEYS,
    S3_KEYS,
    Secret,
    read_secret,
)
from seedbed.storage.storage_urls import KNOWN_SCHEMES
from seedbed_api.errors import UserError, refusal

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

CONNECT_SECONDS = 10
READ_SECONDS = 60
WRITABLE_SCHEMES = frozenset({"memory", "s3", "gs", "az", "webhdfs", "swebhdfs"})
"""Schemes whose exclusive creation is atomic, as the run folder needs it."""

_ONE_PUT_BYTES = 1 << 29
"""Objects below twice this size go in one conditional put (the limit of S3 is 5 GB)."""


@dataclass(kw_only=True, slots=True, repr=False)
class Connection:
    """One file system of fsspec, shared by the storages of one URL; safe for threads and after a fork."""

    scheme: str
    secret: Path | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _owner: int = 0
    _fs: AbstractFileSystem | None = None

    def __reduce__(self) -> tuple[object, ...]:
        return (_reconnect, (self.scheme, self.secret))

    @property
    def fs(self) -> AbstractFileSystem:
        """Return the file system, made by this process."""
        if self._fs is not None and self._owner == os.getpid():
            return self._fs
        with self._lock:
            if self._fs is None or self._owner != os.getpid():
                self._fs = _connect(self.scheme, read_secret(self.secret))
                self._owner = os.getpid()
            return self._fs

    @property
    def writable(self) -> bool:
        """Return whether objects can be created here."""
        return self.scheme in WRITABLE_SCHEMES

    @property
    def put_options(self) -> dict[str, int]:
        """Return what `pipe_file` needs beside path and data."""
        return {"chunksize": _ONE_PUT_BYTES} if self.scheme == "s3" else {}

    @property
    def keys(self) -> str:
        """Return the names of the credentials, for messages about denied access."""
        names = _KEYS.get(self.scheme, HTTP_KEYS)
        where = f"the files of {self.secret}" if self.secret else "the environment"
        return f"{', '.join(names)} in {where}"


def _reconnect(scheme: str, secret: Path | None) -> Connection:
    return Connection(scheme=scheme, secret=secret)


def _connect(scheme: str, secret: Secret) -> AbstractFileSystem:
    import fsspec  # takes 0.1 s, s3fs 0.4 s: for remote stores only

    if scheme in _STORES:
        return _open_store(scheme, secret)
    options = _OPTIONS.get(scheme, _no_options)(secret)
    try:
        cls = fsspec.get_filesystem_class(scheme)
    except (ValueError, ImportError) as error:
        known = ", ".join(f"{name}://" for name in KNOWN_SCHEMES)
        fix = f"use one of {known} or a path"
        raise UserError("InvalidStorageURL", refusal("uri", f"{scheme}://", "unknown scheme", fix)) from error
    try:
        fs = cls(skip_instance_cache=True, use_listings_cache=False, **options)
    except (TypeError, ValueError) as error:  # a scheme of fsspec that needs more than a URL
        known = ", ".join(f"{name}://" for name in KNOWN_SCHEMES)
        fix = f"use one of {known} or a path"
        line = refusal("uri", f"{scheme}://", f"this scheme cannot be opened ({error})", fix)
        raise UserError("InvalidStorageURL", line) from error
    fs.retries = 1  # RemoteStorage retries; two layers would multiply
    return fs


def _no_options(secret: Secret) -> dict[str, Any]:
    del secret
    return {}


def _s3_options(secret: Secret) -> dict[str, Any]:
    from seedbed.storage.http_guard import guarded_socket
    from seedbed.storage.s3_session import S3Session  # takes as long as s3fs

    values = secret.values
    config: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"total_max_attempts": 1, "mode": "standard"},
        "max_pool_connections": 32,
        "connector_args": {"socket_factory": guarded_socket},
        "http_session_cls": S3Session,
    }
    if region := values.get("AWS_DEFAULT_REGION"):
        config["region_name"] = region
    client = {"verify": str(secret.certificate)} if secret.certificate else {}
    return {
        "key": values.get("AWS_ACCESS_KEY_ID"),
        "secret": values.get("AWS_SECRET_ACCESS_KEY"),
        "token": values.get("AWS_SESSION_TOKEN"),
        "endpoint_url": values.get("AWS_ENDPOINT_URL"),
        "config_kwargs": config,
        "client_kwargs": client,
    }


def _http_options(secret: Secret) -> dict[str, Any]:
    import aiohttp  # takes 0.2 s: for HTTP only

    from seedbed.storage.http_guard import guarded_client

    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=READ_SECONDS)
    options: dict[str, Any] = {
        "encoded": True,
        "get_client": guarded_client,
        "client_kwargs": {"timeout": timeout, "trust_env": True, "raise_for_status": False},
    }
    if token := secret.values.get("HTTP_BEARER_TOKEN"):
        options["headers"] = {"Authorization": f"Bearer {token}"}
    if secret.certificate:
        options["ssl"] = _context(secret.certificate)
    return options


def _context(certificate: Path) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=str(certificate))
    except (OSError, ssl.SSLError) as error:
        fix = "put a PEM certificate there"
        message = refusal(f"secretRef {CERTIFICATE}", str(certificate), "is no certificate", fix)
        raise UserError("SecretNotFound", message) from error


def _open_store(scheme: str, secret: Secret) -> AbstractFileSystem:
    """Open a store whose client is of this package and needs an extra."""
    module, extra = _STORES[scheme]
    try:
        opened: Callable[[str, Secret, ssl.SSLContext | None], AbstractFileSystem]
        opened = importlib.import_module(module).open_store
    except ImportError as error:
        fix = f"install seedbed[{extra}], or use an image that has it"
        problem = f"needs the package {error.name or error}, which is not installed"
        raise UserError("InvalidStorageURL", refusal("uri", f"{scheme}://", problem, fix)) from error
    return opened(scheme, secret, _context(secret.certificate) if secret.certificate else None)


_OPTIONS = {"s3": _s3_options, "http": _http_options, "https": _http_options}
_STORES = {
    "gs": ("seedbed.storage.gcs_store", "gcs"),
    "az": ("seedbed.storage.azure_store", "azure"),
    "webhdfs": ("seedbed.storage.webhdfs_store", "train"),
    "swebhdfs": ("seedbed.storage.webhdfs_store", "train"),
}
"""Module and extra of the stores with clients of their own."""
_KEYS = {
    "s3": S3_KEYS[:4],
    "gs": GCS_KEYS[:1],
    "az": AZURE_KEYS[:4],
    "webhdfs": HDFS_KEYS,
    "swebhdfs": HDFS_KEYS,
}
"""What decides about access, for messages."""
