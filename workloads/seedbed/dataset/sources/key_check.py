"""Find keys that occur twice, on disk: the keys of all rows may not fit into memory."""

from __future__ import annotations

import hashlib

import pyarrow as pa

from seedbed.dataset.build_report import printable_path
from seedbed.dataset.disk_spill import ROWS_PER_BLOCK, DiskSpill
from seedbed.dataset.source_listing import encode_path
from seedbed_api.errors import UserError, refusal

_SCHEMA = pa.schema([("order", pa.int64()), ("id", pa.binary(16)), ("path", pa.large_binary())])


class KeyCheck:
    """Collects the keys of rows with their places."""

    def __init__(self, flag: str) -> None:
        self._flag = flag
        self._keys = DiskSpill(_SCHEMA)
        self._rows: list[tuple[int, bytes, bytes]] = []

    def add(self, key: str, place: str) -> None:
        """Add the key of a row."""
        found = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
        order = int.from_bytes(found[:8], "big") >> 1
        self._rows.append((order, found[:16], encode_path(f"{key}\0{place}")))
        if len(self._rows) >= ROWS_PER_BLOCK:
            self._flush()

    def require_unique(self) -> None:
        """Raise `UserError("DuplicateKey")` where two rows have one key."""
        self._flush()
        for block in self._keys.sorted_blocks():
            ids, rows = block["id"].to_pylist(), block["path"]
            for at in range(1, len(ids)):
                if ids[at] == ids[at - 1]:
                    raise self._duplicate(rows[at - 1].as_py(), rows[at].as_py())

    def _duplicate(self, one: bytes, other: bytes) -> UserError:
        key, _, first = one.partition(b"\0")
        places = " and ".join(printable_path(place) for place in (first, other.partition(b"\0")[2]))
        problem = f"{places} have the same key"
        fix = "give each row a key of its own, or leave the option away"
        if self._flag == "SOURCE":
            fix = "give each row a key of its own"
        return UserError("DuplicateKey", refusal(self._flag, printable_path(key), problem, fix))

    def _flush(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            self._keys.add(pa.table(arrays, _SCHEMA))
            self._rows.clear()
