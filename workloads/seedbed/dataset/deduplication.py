"""Deduplication: from sorted metadata to rows, without refused files, duplicates and label conflicts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from seedbed.dataset.build_report import BuildReport, printable_path
from seedbed.dataset.disk_spill import DiskSpill
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.ingest_passes import METADATA_SCHEMA
from seedbed.dataset.reader import Dataset
from seedbed.dataset.shard_io import ShardIndex
from seedbed.dataset.source_listing import decode_path, nfc
from seedbed.dataset.targets import describe_target, target_counts

_MODULUS = 2**256


class Deduplicator:
    """Collects the rows of a build, by split, on local disk; metadata is added in order of id."""

    def __init__(self, *, classes: tuple[str, ...], report: BuildReport, task: str | None = None) -> None:
        self.report = report
        self.contents = 0
        self.label_counts = np.zeros(len(classes), np.int64)
        self._classes = classes
        self._task = task
        self._spills = [DiskSpill(METADATA_SCHEMA) for _ in SPLITS]

    def add(self, block: pa.Table) -> None:
        """Add the next block; it holds all rows of its ids, those of `existing_rows` included."""
        known = block.filter(pc.is_null(block["path"]))
        block = block.filter(pc.is_valid(block["path"]))
        refused = block.filter(pc.is_valid(block["reason"]))
        for row in refused.select(["path", "reason", "detail"]).to_pylist():
            self.report.refused.add(row["reason"], row["path"], detail=row["detail"])
        accepted = self._without_existing(block.filter(pc.is_null(block["reason"])), known)
        accepted = self._without_copies(accepted)
        self.report.add_notes(accepted)
        self._add_accepted(accepted)

    def rows(self, split: str) -> DiskSpill:
        """Return the rows of a split in order of id, on disk."""
        return self._spills[SPLITS.index(split)]

    def _add_accepted(self, accepted: pa.Table) -> None:
        self.report.images += accepted.num_rows
        self.label_counts += self._counts(accepted)
        self.contents = (self.contents + contents_sum(accepted)) % _MODULUS
        for code, spill in enumerate(self._spills):
            spill.add(accepted.filter(pc.equal(accepted["split"], code)))

    def _counts(self, accepted: pa.Table) -> npt.NDArray[np.int64]:
        """Return how many rows have each class."""
        if self._task is not None:
            return target_counts(self._task, accepted["target"].to_pylist(), len(self._classes))
        return np.bincount(accepted["label"].to_numpy(), minlength=len(self._classes))

    def _named(self, row: dict[str, Any]) -> str:
        """Return the class of a row, or its target in words."""
        if self._task is None:
            return self._classes[int(row["label"])]
        return describe_target(self._task, row["target"], self._classes)

    def _without_existing(self, accepted: pa.Table, known: pa.Table) -> pa.Table:
        """Drop rows that the extended dataset has; another label there is a conflict."""
        if known.num_rows == 0 or accepted.num_rows == 0:
            return accepted
        known = known.combine_chunks()
        place = pc.index_in(accepted["id"], known["id"])
        mark = "label" if self._task is None else "target"
        old = pc.take(known[mark], place)
        for row in accepted.filter(pc.not_equal(old, accepted[mark])).select(["path", mark]).to_pylist():
            other = "class" if self._task is None else "target"
            detail = f"the same bytes are in the dataset under another {other} than {self._named(row)}"
            self.report.refused.add("label-conflict", row["path"], detail=detail)
        self.report.already_there += len(place.drop_null())
        return accepted.filter(pc.is_null(place))

    def _without_copies(self, accepted: pa.Table) -> pa.Table:
        """Keep one row per id: of test, validation and train the first that has it, then the first path."""
        ids = _ids(accepted)
        repeats = (ids[1:] == ids[:-1]).all(axis=1)
        if not repeats.any():
            return accepted
        keep = np.ones(len(ids), bool)
        for start, stop in _runs(repeats):
            keep[start:stop] = False
            kept = self._choose_copy(accepted.slice(start, stop - start).to_pylist())
            if kept is not None:
                keep[start + kept] = True
        return accepted.filter(pa.array(keep))

    def _choose_copy(self, copies: list[dict[str, Any]]) -> int | None:
        """Return which of the files with equal bytes to keep; None where their labels differ."""
        labels = sorted({self._named(copy) for copy in copies})
        if len(labels) > 1:
            for copy in copies:
                kind = "are in classes" if self._task is None else "have the targets"
                detail = f"the same bytes {kind} {', '.join(labels)}"
                self.report.refused.add("label-conflict", copy["path"], detail=detail)
            return None
        best = min(range(len(copies)), key=lambda number: _rank(copies[number]))
        for number, copy in enumerate(copies):
            if number != best:
                self.report.duplicates.add(
                    "same-bytes", copy["path"], sameAs=printable_path(copies[best]["path"])
                )
        return best


def _rank(copy: dict[str, Any]) -> tuple[int, str, bytes]:
    """Return the sort key of copies; it does not depend on the Unicode form of their paths."""
    return -copy["split"], nfc(decode_path(copy["path"])), copy["path"]


def _ids(table: pa.Table) -> npt.NDArray[np.uint8]:
    return np.frombuffer(b"".join(table["id"].to_pylist()), np.uint8).reshape(-1, 32)


def _runs(repeats: npt.NDArray[np.bool_]) -> Iterable[tuple[int, int]]:
    """Yield [start, stop) of each run of equal neighbours; repeats[i]: i and i + 1 are equal."""
    edges = np.diff(np.concatenate([[False], repeats, [False]]).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return ((int(start), int(stop) + 1) for start, stop in zip(starts, stops, strict=True))


def contents_sum(rows: pa.Table) -> int:
    """Return the sum modulo 2**256 of sha256(id ‖ key ‖ label ‖ split ‖ target); equal sets, equal sums."""
    columns = (rows[name].to_pylist() for name in ("id", "key", "label", "split", "target"))
    return sum(_content(*row) for row in zip(*columns, strict=True)) % _MODULUS


def _content(row_id: bytes, key: bytes, label: int, split: int, target: bytes | None) -> int:
    digest = hashlib.sha256(row_id + key + label.to_bytes(4, "little") + bytes([split]) + (target or b""))
    return int.from_bytes(digest.digest(), "big")


def shard_contents(index: ShardIndex, split: str) -> int:
    """Return the sum that `contents_sum` reduces, over the rows of a shard."""
    code = SPLITS.index(split)
    targets = index.target or (None,) * len(index)
    rows = zip(index.id, index.key, index.label.tolist(), targets, strict=True)
    contents = (
        _content(row_id.tobytes(), key.tobytes(), label, code, target) for row_id, key, label, target in rows
    )
    return sum(contents) % _MODULUS


def hex_contents(contents: int) -> str:
    """Return a sum of contents as manifests have it."""
    return f"{contents % _MODULUS:064x}"


def existing_rows(dataset: Dataset | None) -> Iterator[pa.Table]:
    """Yield the rows of the dataset to extend, as rows of `METADATA_SCHEMA` without a path."""
    for number in range(0 if dataset is None else len(dataset.manifest.shards)):
        assert dataset is not None
        index = dataset.index(number)
        known = {"order": _orders(index.id), "id": _id_array(index.id), "label": pa.array(index.label)}
        if index.target is not None:
            known["target"] = pa.array(index.target, pa.binary())
        columns = [known.get(field.name, pa.nulls(len(index), field.type)) for field in METADATA_SCHEMA]
        yield pa.table(columns, METADATA_SCHEMA)


def _orders(ids: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.array((ids[:, :8].copy().view(">u8")[:, 0] >> np.uint64(1)).astype(np.int64))


def _id_array(ids: npt.NDArray[np.uint8]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(32), len(ids), [None, pa.py_buffer(ids.tobytes())])
