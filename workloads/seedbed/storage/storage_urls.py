"""Storage URLs: parsing, joining, and printing them without credentials."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit, urlunsplit

from seedbed_api.errors import UserError, refusal
from seedbed_api.pod_contract import env_vars

KNOWN_SCHEMES = ("file", "http", "https", "memory", "s3", "gs", "az", "webhdfs", "swebhdfs")
"""Schemes that are tested; others of fsspec work where their package is installed."""

_CLAIM = re.compile(r"pvc://([a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?)((?:/.*)?)")
ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az"}
"""Other names of schemes, as tools of the field write them."""
_WITH_HOST = frozenset({"http", "https", "s3", "gs", "az", "webhdfs", "swebhdfs", *ALIASES})
_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.\-]*)://")
_ONE_SLASH = re.compile(rf"({'|'.join((*KNOWN_SCHEMES, *ALIASES, 'pvc'))}):(?!//)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """The parts of a storage URL that decide how it is opened."""

    scheme: str
    """Lower case; `file` for a plain path."""
    url: str
    """The URL without a trailing slash, credentials included: never to be printed."""
    shown: str
    """The same without user, password and query values."""
    boundary: Path | None = None
    """Folder of the mounted volume claim, which no link may lead out of."""


def parse_location(url: str) -> Location:
    """Split a URL or local path; relative paths are taken from the working folder of this process."""
    match = _SCHEME.match(url)
    if match is None:
        _refuse_one_slash(url)
        return _local_location(url)
    scheme = match[1].lower()
    if scheme == "pvc" and env_vars.CLAIMS_FOLDER in os.environ:
        return _claim_location(url, Path(os.environ[env_vars.CLAIMS_FOLDER]))
    if scheme in {"file", "local"}:
        return _local_location(url[match.end() :])
    if scheme in _WITH_HOST and not _split_url(url).netloc:
        message = refusal("uri", url, "names no bucket or host", f"write for example {scheme}://name/folder")
        raise UserError("InvalidStorageURL", message)
    if ALIASES.get(scheme, scheme) == "az" and "@" in _split_url(url).netloc:
        fix = "write az://container/folder, and the account into AZURE_STORAGE_ACCOUNT"
        raise UserError("InvalidStorageURL", refusal("uri", printable_url(url), "names an account", fix))
    return Location(scheme=scheme, url=_without_trailing_slash(url), shown=printable_url(url))


def absolute_url(url: str) -> str:
    """Return a URL that does not depend on the working folder: local paths become absolute and normal.

    URLs of other schemes are returned as they are.
    """
    match = _SCHEME.match(url)
    if match is not None and match[1].lower() != "file":
        return url
    return parse_location(url).url.removeprefix("file://")


def absolute_path(path: Path) -> Path:
    """Return a local path without `~`, `.` and `..`, from the working folder of now.

    Symbolic links stay in the path, but `..` after a link is resolved as the kernel does.
    """
    try:
        whole = path.expanduser()
    except RuntimeError as error:
        problem, fix = "names no known home folder", "set HOME, or give the full path"
        raise UserError("InvalidStorageURL", refusal("uri", str(path), problem, fix)) from error
    if not whole.is_absolute():
        whole = _working_folder(path) / whole
    _refuse_unencodable(whole)
    found = PurePosixPath("/")
    for part in whole.parts[1:]:
        found = PurePosixPath(os.path.realpath(found)).parent if part == ".." else found / part
    return Path(found)


def printable_url(url: str) -> str:
    """Return the URL without user, password and query values."""
    if _SCHEME.match(url) is None:
        return url
    parts = _split_url(url)
    host = parts.netloc.rpartition("@")[2]
    query = "…" if parts.query else ""
    return _without_trailing_slash(urlunsplit((parts.scheme, host, parts.path, query, "")))


def _split_url(url: str) -> SplitResult:
    """Split a URL; UserError where its host or port is invalid, as `[::1` or a port beyond 65535."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        shown = re.sub(r"//[^/]*@", "//…@", url.partition("?")[0])
        fix = "write http://host:port/folder, with an IPv6 address in brackets: http://[::1]:9000/folder"
        problem = f"is no URL: {error}"
        raise UserError("InvalidStorageURL", refusal("uri", shown, problem, fix)) from None
    return parts


def check_supported(scheme: str, shown: str) -> None:
    """Refuse an unknown scheme; imports fsspec where it is none of the tested ones."""
    if scheme in KNOWN_SCHEMES:
        return
    import fsspec  # takes 0.1 s, which local runs need not wait for

    if scheme not in fsspec.available_protocols():
        known = ", ".join(f"{name}://" for name in KNOWN_SCHEMES)
        fix = f"use one of {known} or a path"
        if scheme == "pvc":
            fix += " (of a cluster's volume, the path where it is mounted)"
        raise UserError("InvalidStorageURL", refusal("uri", shown, "unknown scheme", fix))


def require_relative(path: str) -> str:
    """Return `path` if it lies below a storage: a manifest must not name files outside of its folder."""
    if not path or "\0" in path or path.startswith("/") or ".." in path.split("/"):
        problem = "is not a relative path below the storage"
        raise UserError("InvalidPath", refusal("path", path, problem, "use a path without a leading / or .."))
    return path


def join_url(url: str, path: str) -> str:
    """Return the URL of `path` below `url`; a query of the URL stays at the end."""
    base, mark, query = url.partition("?") if url.startswith(("http://", "https://")) else (url, "", "")
    return f"{base.rstrip('/')}/{path}{mark}{query}"


def _local_location(path: str) -> Location:
    if not path or "::" in path or "\0" in path:
        known = ", ".join(f"{scheme}://" for scheme in KNOWN_SCHEMES)
        fix = f"give a path or one URL ({known})"
        raise UserError("InvalidStorageURL", refusal("uri", path, "names no folder", fix))
    whole = absolute_path(Path(path))
    return Location(scheme="file", url=f"file://{whole}", shown=f"file://{whole}")


def _working_folder(path: Path) -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError as error:
        fix = "change to a folder that exists, or give an absolute path"
        line = refusal("uri", str(path), "is relative, and the working folder was removed", fix)
        raise UserError("InvalidStorageURL", line) from error


def _refuse_unencodable(path: Path) -> None:
    """Refuse a name that this process cannot encode, or that a status could not show."""
    try:
        os.fsencode(path)
        str(path).encode()
    except UnicodeEncodeError as error:
        problem = f"cannot be written in {error.encoding}, the encoding of this process"
        fix = "set LC_ALL=C.UTF-8, or rename the folder"
        shown = str(path).encode("ascii", "backslashreplace").decode()
        raise UserError("InvalidStorageURL", refusal("uri", shown, problem, fix)) from error


def _refuse_one_slash(url: str) -> None:
    """Refuse a URL with one slash, as `s3:/bucket`: as a path it would be a new folder `s3:`."""
    match = _ONE_SLASH.match(url)
    if match is not None:
        scheme, rest = match[1].lower(), url[match.end() :]
        meant = rest if scheme == "file" else f"{scheme}://{rest.lstrip('/')}"
        fix = f"write {meant or 'a path'}, or ./{url} for a folder of that name"
        raise UserError("InvalidStorageURL", refusal("uri", url, "is neither a URL nor a plain path", fix))


def _claim_location(url: str, claims: Path) -> Location:
    """Return the mounted folder of a `pvc://` URL; its path must stay below the claim."""
    match = _CLAIM.fullmatch(url)
    parts = match[2].split("/") if match else [".."]
    if match is None or ".." in parts or "\0" in url:
        fix = "write for example pvc://claim/folder"
        raise UserError("InvalidStorageURL", refusal("uri", url, "names no folder of a volume claim", fix))
    claim = absolute_path(claims) / match[1]
    path = claim.joinpath(*(part for part in parts if part not in ("", ".")))
    return Location(scheme="file", url=f"file://{path}", shown=url, boundary=claim)


def _without_trailing_slash(url: str) -> str:
    head, mark, query = url.partition("?")
    return (head if head.endswith("://") else head.rstrip("/")) + mark + query
