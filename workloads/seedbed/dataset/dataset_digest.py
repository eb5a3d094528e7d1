"""The dataset digest: over the rows and the boundaries of shards, not over the files that hold them.

Two datasets of equal digest have the same number, label, key and bytes for every row, and shards of the same
rows: training shuffles shards, so their boundaries decide its order. Batches, file names and times are left
out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import rfc8785

from seedbed.dataset.file_format import SCHEMA_VERSION


def row_head(*, row_id: bytes, key: bytes, label: int, target: bytes | None = None) -> bytes:
    """Return what a row digest covers before the image: id ‖ key ‖ label as 4 bytes LE.

    Of another task than single-label: id ‖ key ‖ bytes of the target as 4 bytes LE ‖ target.
    """
    if target is None:
        return row_id + key + label.to_bytes(4, "little")
    return row_id + key + len(target).to_bytes(4, "little") + target


def row_digest(
    *, row_id: bytes, key: bytes, label: int, image: bytes | memoryview, target: bytes | None = None
) -> bytes:
    """Return sha256(head ‖ image bytes); see `row_head`."""
    digest = hashlib.sha256(row_head(row_id=row_id, key=key, label=label, target=target))
    digest.update(image)
    return digest.digest()


class DatasetDigest:
    """The digest of a dataset, updated with the row digests of shard after shard."""

    def __init__(self, classes: Iterable[str], *, task: str | None = None) -> None:
        header: dict[str, Any] = {"classes": list(classes), "schema": SCHEMA_VERSION}
        if task is not None:
            header["task"] = task
        self._hash = hashlib.sha256(b"seedbed dataset\0" + rfc8785.dumps(header))

    def update(self, split: str, row_digests: bytes | memoryview) -> None:
        """Add the next shard: split ‖ 0 ‖ rows as 8 bytes LE ‖ sha256 of its 32-byte row digests."""
        self.update_shard(split, len(row_digests) // 32, hashlib.sha256(row_digests).digest())

    def update_shard(self, split: str, rows: int, rows_digest: bytes) -> None:
        """Add the next shard by the sha256 of its row digests: the two levels of a Merkle tree."""
        self._hash.update(split.encode() + b"\0" + rows.to_bytes(8, "little") + rows_digest)

    def finish(self) -> str:
        """Return `sha256:…` over everything added."""
        return f"sha256:{self._hash.hexdigest()}"
