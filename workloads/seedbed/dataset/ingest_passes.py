"""The two passes over the sources of a build, as functions of Arrow tables that any engine can run.

Pass 1 reads, hashes and inspects every file and returns a small metadata row. Pass 2 reads the files of one
planned shard again, in order, and writes the shard and its index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from seedbed.dataset.file_format import SPLITS, BuildRecipe, Shard
from seedbed.dataset.shard_io import EncodedShard, Row, ShardEncoder
from seedbed.dataset.source_file_lookup import read_source_file
from seedbed.dataset.source_listing import (
    DRAWN_SPLIT,
    LISTING_SCHEMA,
    RANGE_COLUMNS,
    RowContainer,
    decode_path,
    encode_path,
)
from seedbed.dataset.split_assignment import group_key, split_of
from seedbed.dataset.targets import encode_target, target_counts
from seedbed.images.conversions import Conversions
from seedbed.images.image_conversion import (
    BadImage,
    StoredFormat,
    has_image_suffix,
    inspect,
    normalise,
)
from seedbed.storage import DamagedObject, ShortRead, Storage, UnreadableObject, holds
from seedbed.storage.object_limits import SOURCE_IMAGE
from seedbed_api.errors import UserError, refusal

METADATA_SCHEMA = pa.schema(
    [
        ("order", pa.int64()),
        ("id", pa.binary(32)),
        ("path", pa.large_binary()),
        *(LISTING_SCHEMA.field(name) for name in RANGE_COLUMNS),
        ("label", pa.int32()),
        ("target", pa.binary()),
        ("split", pa.int8()),
        ("key", pa.binary(32)),
        ("weight", pa.int64()),
        ("notes", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
    ]
)
"""`order` is the first 63 bits of the id, a number to sort by; `reason` is null for accepted files, `target`
for single-label."""
TASK_COLUMNS = ["path", *RANGE_COLUMNS, "id", "label", "target", "key", "weight"]
"""The columns of the metadata that pass 2 needs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestJob:
    """What all tasks of a build have in common; picklable."""

    source: Storage
    dest: Storage
    classes: tuple[str, ...]
    recipe: BuildRecipe
    batch_bytes: int
    threads: int
    containers: tuple[RowContainer, ...] = ()
    task: str | None = None
    """One of `targets.TASKS`; None is single-label."""

    @property
    def stored_format(self) -> StoredFormat:
        """Return how images are stored."""
        return StoredFormat(
            image_size=self.recipe.image_size,
            encoding=self.recipe.encoding,
            conversions=Conversions.of(self.recipe.conversions),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardTask:
    """One planned shard: its position in the dataset and the metadata of its rows, in row order."""

    split: str
    number: int
    first_row: int
    rows: pa.Table


@dataclass(frozen=True, kw_only=True, slots=True)
class WrittenShard:
    """A stored shard, and what the manifest needs to know of its rows."""

    shard: Shard
    row_digests: bytes
    label_counts: npt.NDArray[np.int64]
    """Rows of each class."""


def inspect_files(files: pa.Table, *, job: IngestJob) -> pa.Table:
    """Run pass 1 over rows of a listing; returns rows of `METADATA_SCHEMA`."""
    fractions = {name: Fraction(value) for name, value in job.recipe.split.items()}
    labels = {name: number for number, name in enumerate(job.classes)}

    def judge(file: dict[str, object]) -> dict[str, object]:
        return _metadata_row(file, job=job, labels=labels, fractions=fractions)

    with ThreadPoolExecutor(job.threads) as pool:
        return pa.Table.from_pylist(list(pool.map(judge, files.to_pylist())), METADATA_SCHEMA)


def _metadata_row(
    file: dict[str, object], *, job: IngestJob, labels: dict[str, int], fractions: dict[str, Fraction]
) -> dict[str, object]:
    path, group, code = file["path"], file["group"], file["split"]
    assert isinstance(path, bytes)
    assert isinstance(code, int)
    where = {name: file[name] for name in RANGE_COLUMNS}
    label = labels.get(str(file["class"]), -1) if job.task is None else 0
    row: dict[str, object] = {"path": path, **where, "label": label}
    if file["reason"] is not None:
        kind, _, seen = str(file["reason"]).partition(": ")
        return _refused(row, path, kind, seen or _LISTING_DETAILS[kind])
    try:
        found, data = _read_row(file, decode_path(path), job)
        judged = inspect(data, _file_name(file, found), job.stored_format)
    except BadImage as bad:
        return _refused(row, path, bad.reason, bad.detail)
    row_id = hashlib.sha256(data).digest()
    key = row_id if group is None else group_key(str(group))
    split = SPLITS.index(split_of(key, fractions)) if code == DRAWN_SPLIT else code
    placed = {
        "path": encode_path(found),
        "order": _order(row_id),
        "id": row_id,
        "key": key,
        "split": split,
    }
    if job.task is not None:
        row["target"] = encode_target(job.task, str(file["class"]), labels)
    return row | placed | {"weight": judged.weight, "notes": ",".join(judged.notes)}


def _read_row(row: dict[str, object], path: str, job: IngestJob) -> tuple[str, bytes]:
    """Return the bytes of a listed row, and the path of its file as it is spelled."""
    if row["container"] is None:
        return read_source_file(job.source, path)
    try:
        return path, _read_range(row, job)
    except UnreadableObject as error:
        raise BadImage("unreadable", error.problem) from error


def _read_range(row: dict[str, object], job: IngestJob) -> bytes:
    number, start, length = (row[name] for name in RANGE_COLUMNS)
    assert isinstance(number, int)
    assert isinstance(start, int)
    assert isinstance(length, int)
    return job.containers[number].read_range(start, length)


def _file_name(row: dict[str, object], path: str) -> str | None:
    """Return the name whose suffix should fit the content; rows of tables have none."""
    return path if row["container"] is None or has_image_suffix(path) else None


_LISTING_DETAILS = {
    "outside-class-folder": "an image beside the class folders has no class",
    "outside-source": "the path must be relative to SOURCE and lie below it",
    "no-label": "the label is empty",
    "unknown-split": "the split is not train, validation or test",
    "no-group": "its group is empty, or --group-by finds none",
}


def _refused(row: dict[str, object], path: bytes, reason: str, detail: str) -> dict[str, object]:
    """Return the metadata row of a refused file, sorted by the hash of its path."""
    place = hashlib.sha256(path).digest()
    nothing = {"order": _order(place), "id": place, "key": place, "split": 0, "weight": 0, "notes": ""}
    return row | nothing | {"reason": reason, "detail": detail}


def _order(row_id: bytes) -> int:
    return int.from_bytes(row_id[:8], "big") >> 1


def write_shard(task: ShardTask, *, job: IngestJob) -> WrittenShard:
    """Run pass 2 for one shard; `UserError("SourceChanged")` where a file changed since pass 1."""
    encoder = ShardEncoder(batch_bytes=job.batch_bytes, task=job.task)
    for row in _rows(task, job):
        encoder.add(row)
    encoded = encoder.finish()
    shard = _shard(task, encoded)
    _store(job.dest, shard.path, encoded.data)
    _store(job.dest, shard.index_path, encoded.index)
    return WrittenShard(
        shard=shard, row_digests=encoded.row_digests, label_counts=_rows_per_class(encoded, job)
    )


def _rows_per_class(encoded: EncodedShard, job: IngestJob) -> npt.NDArray[np.int64]:
    if job.task is None or encoded.targets is None:
        return np.bincount(encoded.labels, minlength=len(job.classes))
    return target_counts(job.task, encoded.targets, len(job.classes))


def _rows(task: ShardTask, job: IngestJob) -> Iterator[Row]:
    def load(row: dict[str, object]) -> Row:
        row_id, label, key, target = row["id"], row["label"], row["key"], row["target"]
        assert isinstance(row_id, bytes)
        assert isinstance(key, bytes)
        assert isinstance(label, int)
        assert target is None or isinstance(target, bytes)
        image = _stored_image(row, row_id, job)
        return Row(image=image, label=label, id=row_id, key=key, target=target)

    with ThreadPoolExecutor(job.threads) as pool:
        for batch in task.rows.to_batches(max_chunksize=256):
            yield from pool.map(load, batch.to_pylist())


def _stored_image(row: dict[str, object], row_id: bytes, job: IngestJob) -> bytes:
    assert isinstance(row["path"], bytes)
    path = decode_path(row["path"])
    try:
        data = job.source.read(path, SOURCE_IMAGE) if row["container"] is None else _read_range(row, job)
    except (FileNotFoundError, UnreadableObject, DamagedObject, ShortRead):
        data = b""
    if hashlib.sha256(data).digest() != row_id:
        fix = "do not change the source during the build, and build again"
        raise UserError("SourceChanged", refusal("SOURCE", path, "the file changed during the build", fix))
    image = normalise(data, _file_name(row, path), job.stored_format).image
    assert image is not None
    return image


def _shard(task: ShardTask, encoded: EncodedShard) -> Shard:
    """Return the manifest entry; names hold hashes, so that no version overwrites another's file."""
    sha256 = hashlib.sha256(encoded.data).hexdigest()
    stem = f"shards/{task.split}-{task.number:05d}-{sha256[:16]}"
    index_sha256 = hashlib.sha256(encoded.index).hexdigest()
    return Shard(
        path=f"{stem}.arrow",
        split=task.split,
        first_row=task.first_row,
        rows=task.rows.num_rows,
        bytes=len(encoded.data),
        sha256=sha256,
        batches=encoded.batches,
        index_path=f"{stem}-{index_sha256[:16]}.index.arrow",
        index_sha256=index_sha256,
        rows_sha256=hashlib.sha256(encoded.row_digests).hexdigest(),
    )


def _store(dest: Storage, path: str, data: bytes) -> None:
    """Write an object whose name contains its hash; replace a damaged one."""
    if not dest.create(path, data) and not holds(dest, path, data):
        dest.put(path, data)
