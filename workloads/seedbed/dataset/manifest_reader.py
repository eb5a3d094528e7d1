"""Read a manifest from a store: bounded, parsed, and its content compared with its dataset digest."""

from __future__ import annotations

import re
from dataclasses import replace

from seedbed.dataset.file_format import MANIFEST, VERSIONS, Manifest, Shard, invalid_dataset, load_manifest
from seedbed.dataset.index_check import rows_sha256
from seedbed.dataset.manifest_check import (
    digest_of,
    first_difference,
    require_committed,
    require_consistent,
)
from seedbed.dataset.shard_reader import in_parallel, read_bounded, read_index
from seedbed.storage import DamagedObject, LocalStorage, Storage
from seedbed.storage.object_limits import DATASET_MANIFEST
from seedbed_api.errors import UserError, refusal


def version_path(digest: str) -> str:
    """Return the path of the manifest of one version; `UserError` where this is no digest."""
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        fix = "write sha256: and 64 hexadecimal digits, as `seedbed dataset show` prints them"
        raise UserError("InvalidSpec", refusal("dataset.digest", digest, "is no digest", fix))
    return f"{VERSIONS}/{digest.removeprefix('sha256:')}.json"


def read_manifest(storage: Storage, digest: str | None = None) -> tuple[Manifest, bool]:
    """Return the newest manifest, or that of a digest, and whether its file names all row digests.

    Where it does not, all indices are read. `UserError("InvalidDataset")` where anything contradicts the
    digest, `UserError("DatasetChanged")` where there is no such version.
    """
    path, stored = _find(storage, digest)
    manifest = with_row_digests(storage, stored)
    if digest_of(manifest) != manifest.digest:
        _refuse_difference(storage, manifest, path)
    return manifest, manifest is stored


def _find(storage: Storage, digest: str | None) -> tuple[str, Manifest]:
    newest = parse_manifest(storage, MANIFEST)
    if digest is None or newest.digest == digest:
        return MANIFEST, newest
    path = version_path(digest)
    if not storage.exists(path):
        fix = "point uri at the pinned dataset, or pin the new digest if the change is meant"
        problem = f"{storage.url} now holds {newest.digest}"
        raise UserError("DatasetChanged", refusal("dataset.digest", digest, problem, fix))
    older = parse_manifest(storage, path)
    if older.digest != digest:
        raise invalid_dataset(storage.url, f"{path} is of another digest, {older.digest}")
    return path, older


def parse_manifest(storage: Storage, path: str) -> Manifest:
    """Return a manifest that is consistent in itself; its digest may be anything."""
    try:
        data = read_bounded(storage, path, DATASET_MANIFEST)
    except FileNotFoundError as error:
        problem, fix = _no_dataset(storage, path)
        raise UserError("InvalidDataset", refusal("dataset.uri", storage.url, problem, fix)) from error
    except DamagedObject as error:
        raise invalid_dataset(storage.url, f"{path} cannot be read", detail=str(error.strerror)) from error
    manifest = load_manifest(data, where=storage.url)
    require_consistent(manifest, where=storage.url)
    return manifest


def with_row_digests(storage: Storage, manifest: Manifest) -> Manifest:
    """Return a manifest whose shards all have `rows_sha256`, read from their indices where it is missing."""
    missing = [number for number, shard in enumerate(manifest.shards) if shard.rows_sha256 is None]
    if not missing:
        return manifest

    def completed(number: int) -> Shard:
        shard = manifest.shards[number]
        index = read_index(storage, shard, classes=len(manifest.classes), task=manifest.task)
        return replace(shard, rows_sha256=rows_sha256(index))

    shards = list(manifest.shards)
    for number, shard in zip(missing, in_parallel(completed, missing), strict=True):
        shards[number] = shard
    return replace(manifest, shards=tuple(shards))


def _refuse_difference(storage: Storage, manifest: Manifest, path: str) -> None:
    """Refuse a manifest that is not that of its digest; name the shard where a true copy is still there."""
    try:
        true = with_row_digests(storage, parse_manifest(storage, version_path(manifest.digest)))
    except (UserError, OSError):
        true = None
    if true is not None and true.digest == manifest.digest == digest_of(true):
        what = first_difference(manifest, true)
        problem = f"{path} states digest {manifest.digest}, but {what} is not what it commits to"
        fix = f"{version_path(manifest.digest)} is whole: put a copy of it in the place of {path}"
        raise UserError("InvalidDataset", refusal("dataset.uri", storage.url, problem, fix))
    require_committed(manifest, path=path, where=storage.url)


def _no_dataset(storage: Storage, path: str) -> tuple[str, str]:
    """Return problem and fix where there is no manifest: a folder, a file, or a file of a dataset."""
    folder, _, name = storage.url.rpartition("/")
    is_file = isinstance(storage, LocalStorage) and storage.root.is_file()
    problem = "is a file, not a folder" if is_file else f"there is no dataset here ({path} is missing)"
    if name == MANIFEST:
        return problem, f"give the folder that holds it: {folder}"
    fix = "give the folder that `seedbed dataset build` wrote"
    return problem, f"{fix} from it, once unpacked if it is an archive" if is_file else fix
