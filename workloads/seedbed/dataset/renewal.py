"""Renew the manifests of a dataset that was built before they named the row digests of their shards."""

from __future__ import annotations

from typing import Final

from seedbed.dataset.file_format import MANIFEST, VERSIONS, dump_manifest
from seedbed.dataset.manifest_reader import parse_manifest, read_manifest, version_path
from seedbed.storage import Storage

RENEWAL: Final = (
    "was built before manifests named the row digests of shards: each opening reads all its indices; "
    "`seedbed dataset renew URL` adds them, and no digest changes"
)


def renew_dataset(storage: Storage) -> list[str]:
    """Add row digests to the manifests that lack them; return their paths. No digest changes.

    Raises what `open_dataset` raises, before the first write.
    """
    newest = parse_manifest(storage, MANIFEST).digest
    paths = {version_path(newest): newest, MANIFEST: newest}
    for path in storage.list(VERSIONS):
        digest = f"sha256:{path.removeprefix(f'{VERSIONS}/').removesuffix('.json')}"
        paths.setdefault(path, digest)
    renewed = {}
    for path, digest in paths.items():
        manifest, current = read_manifest(storage, digest)
        if not current:
            renewed[path] = dump_manifest(manifest)
    for path, data in renewed.items():
        storage.put(path, data)
    return list(renewed)
