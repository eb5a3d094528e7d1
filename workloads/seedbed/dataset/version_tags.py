"""Tags: names for versions of a dataset, one small object each. A tag can be moved; a digest cannot."""

from __future__ import annotations

import re
from typing import Any, Final

import rfc8785

from seedbed.dataset.file_format import MANIFEST, invalid_dataset
from seedbed.dataset.manifest_reader import version_path
from seedbed.dataset.shard_reader import read_bounded
from seedbed.storage import Storage, holds
from seedbed.storage.object_limits import ObjectLimit
from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

TAGS: Final = "tags"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LIMIT: Final = ObjectLimit(kind="a tag", most_bytes=4096)


def require_tag_name(name: str, *, fix: str = "write for example v1 or 2026-07") -> None:
    """Refuse a name that is no tag: letters, digits, dots, dashes and underscores, at most 64."""
    if not _NAME.fullmatch(name):
        problem = "a tag has 1 to 64 letters, digits, dots, dashes and underscores"
        raise UserError("InvalidOption", refusal("TAG", name, problem, fix))


def tagged_digest(storage: Storage, name: str, *, field: str = "TAG") -> str:
    """Return the digest that a tag names; `UserError` names `field` where there is no such tag.

    `UserError("InvalidDataset")` where there is no dataset, or the tag is damaged.
    """
    try:
        data = read_bounded(storage, _path(name), _LIMIT)
    except FileNotFoundError:
        if not storage.exists(MANIFEST):
            raise invalid_dataset(storage.url, f"there is no dataset here ({MANIFEST} is missing)") from None
        fix = "`seedbed dataset tag URL` lists the tags; a digest begins with sha256:"
        line = refusal(field, name, f"{storage.url} has no such tag", fix)
        raise UserError("InvalidDataset", line) from None
    return _parse(storage, name, data)


def set_tag(storage: Storage, name: str, digest: str, *, move: bool) -> bool:
    """Point a tag at a version; False where it pointed there already.

    `UserError("TagExists")` where it names another version and is not to move.
    """
    require_tag_name(name)
    document = {"digest": digest, "tag": name}
    data = rfc8785.dumps(document) + b"\n"
    if storage.create(_path(name), data):
        return True
    if holds(storage, _path(name), data):
        return False
    if not move:
        present = tagged_digest(storage, name)
        fix = "choose another name, or move it with --move"
        raise UserError("TagExists", refusal("TAG", name, f"it names version {present}", fix))
    storage.put(_path(name), data)
    return True


def delete_tag(storage: Storage, name: str) -> str:
    """Remove a tag and return the digest that it named; the version stays."""
    require_tag_name(name)
    digest = tagged_digest(storage, name)
    storage.delete(_path(name))
    return digest


def list_tags(storage: Storage) -> dict[str, str]:
    """Return the digest of every tag, by name, sorted."""
    names = (path.removeprefix(f"{TAGS}/").removesuffix(".json") for path in storage.list(TAGS))
    return {name: tagged_digest(storage, name) for name in names if _NAME.fullmatch(name)}


def _path(name: str) -> str:
    return f"{TAGS}/{name}.json"


def _parse(storage: Storage, name: str, data: bytes) -> str:
    try:
        document: Any = parse_json(data)
        digest = document["digest"] if document["tag"] == name else None
        version_path(str(digest))
    except (ValueError, KeyError, TypeError, RecursionError, UserError):
        problem = f"{_path(name)} is no tag"
        raise invalid_dataset(storage.url, problem, detail="set it again with --move") from None
    return str(digest)
