"""The dataset digest: over logical rows, whatever the files that hold them.

Runs of neighbouring rows of one split are hashed in row order, so two datasets of equal digest give every row
the same number, label, key and bytes. Shard and batch sizes, names and times do not enter.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import rfc8785

from seedbed.dataset.format import SCHEMA_VERSION


def row_digest(*, row_id: bytes, key: bytes, label: int, image: bytes | memoryview) -> bytes:
    """Return sha256(id ‖ key ‖ label as 4 bytes LE ‖ image bytes)."""
    digest = hashlib.sha256(row_id + key + label.to_bytes(4, "little"))
    digest.update(image)
    return digest.digest()


class DatasetDigest:
    """Streams row digests in row order, shard after shard."""

    def __init__(self, classes: Iterable[str]) -> None:
        header: dict[str, Any] = {"classes": list(classes), "schema": SCHEMA_VERSION}
        self._hash = hashlib.sha256(b"seedbed dataset\0" + rfc8785.dumps(header))
        self._split = ""
        self._run = hashlib.sha256()
        self._rows = 0

    def update(self, split: str, row_digests: bytes | memoryview) -> None:
        """Add the concatenated 32-byte row digests of the next shard."""
        if split != self._split:
            self._close_run()
            self._split = split
        self._run.update(row_digests)
        self._rows += len(row_digests) // 32

    def finish(self) -> str:
        """Return `sha256:…` over everything added."""
        self._close_run()
        return f"sha256:{self._hash.hexdigest()}"

    def _close_run(self) -> None:
        if self._rows:
            self._hash.update(
                self._split.encode() + b"\0" + self._rows.to_bytes(8, "little") + self._run.digest()
            )
        self._run, self._rows = hashlib.sha256(), 0
