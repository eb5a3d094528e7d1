"""Name a version of a dataset: `URL@TAG` and `URL@sha256:…`, by a tag or by the first digits of a digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from seedbed.dataset.file_format import MANIFEST, VERSIONS, invalid_dataset
from seedbed.dataset.manifest_reader import version_path
from seedbed.dataset.reader import Dataset, open_dataset
from seedbed.dataset.version_tags import require_tag_name, tagged_digest
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import UserError, refusal

_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{6,64}")
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_FIX: Final = "write URL@TAG, or URL@sha256: and at least 6 digits, as `seedbed dataset versions` prints them"


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionReference:
    """A dataset's URL and the version that is meant."""

    url: str
    version: str | None
    """A tag, or `sha256:` and the first digits of a digest; None is the newest version."""


def parse_reference(text: str) -> VersionReference:
    """Split `URL@VERSION`; the `@` is in the last part of the path.

    A local folder that is there under the whole name is meant as it is written, and so is a URL with a query
    or without a path, where `@` ends a user or a container.
    """
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    folder, slash, name = rest.rpartition("/")
    url, mark, version = name.rpartition("@")
    as_written = "?" in rest or not slash if scheme else Path(text).expanduser().exists()
    if not mark or as_written:
        return VersionReference(url=text, version=None)
    return VersionReference(url=f"{scheme[0] if scheme else ''}{folder}{slash}{url}", version=version)


def open_version(reference: VersionReference, *, secret: Path | None = None) -> Dataset:
    """Open a version of a dataset; `UserError` where there is no such tag or digest."""
    storage = open_storage(reference.url or ".", secret=secret)
    if reference.version is None:
        return open_dataset(storage)
    return open_dataset(storage, digest=resolve_version(storage, reference.version))


def resolve_version(storage: Storage, version: str) -> str:
    """Return the digest that a tag or first digits name; `UserError` where there is none, or several."""
    if not version.startswith("sha256:"):
        require_tag_name(version, fix=_FIX)
        return tagged_digest(storage, version)
    if not _DIGEST.fullmatch(version):
        raise UserError("InvalidOption", refusal("VERSION", version, "is no digest", _FIX))
    if re.fullmatch(r"sha256:[0-9a-f]{64}", version):
        return version
    return _completed_digest(storage, version)


def _completed_digest(storage: Storage, prefix: str) -> str:
    known = [digest for digest in stored_digests(storage) if digest.startswith(prefix)]
    if not known:
        fix = "`seedbed dataset versions URL` lists them"
        raise UserError(
            "DatasetChanged", refusal("VERSION", prefix, f"{storage.url} has no such version", fix)
        )
    if len(known) > 1:
        problem = f"{len(known)} versions begin so: {', '.join(digest[:19] for digest in known[:3])}"
        raise UserError("InvalidOption", refusal("VERSION", prefix, problem, "write more digits"))
    return known[0]


def stored_digests(storage: Storage) -> list[str]:
    """Return the digests of all versions of a dataset, sorted; `UserError` where there is no dataset."""
    if not storage.exists(MANIFEST):
        raise invalid_dataset(storage.url, f"there is no dataset here ({MANIFEST} is missing)")
    found = (path.removeprefix(f"{VERSIONS}/").removesuffix(".json") for path in storage.list(VERSIONS))
    digests = [f"sha256:{name}" for name in found if re.fullmatch(r"[0-9a-f]{64}", name)]
    assert all(version_path(digest) for digest in digests)
    return digests
