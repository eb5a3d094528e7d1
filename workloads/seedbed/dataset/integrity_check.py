"""Check a dataset: read all of it and name each difference from its manifest, down to the row."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.ipc

from seedbed.dataset.arrow_file import read_table
from seedbed.dataset.dataset_digest import DatasetDigest
from seedbed.dataset.deduplication import hex_contents, shard_contents
from seedbed.dataset.file_format import SPLITS, Shard, shard_schema
from seedbed.dataset.reader import Dataset
from seedbed.dataset.shard_io import ShardIndex
from seedbed.dataset.shard_reader import row_name
from seedbed.storage import DamagedObject, ObjectLimit, OversizedObject, UnreadableObject
from seedbed_api.errors import UserError

OnProgress = Callable[[str, int, int], None]
_NAMED_ROWS = 5


def check_dataset(
    dataset: Dataset, *, progress: Callable[[str, int, int], None] = lambda *_: None
) -> list[str]:
    """Return each difference between manifest and stored bytes as a sentence."""
    problems: list[str] = []
    contents, seen = 0, _SeenRows()
    digest = DatasetDigest(dataset.classes, task=dataset.manifest.task)
    counts = {split: np.zeros(len(dataset.classes), np.int64) for split in SPLITS}
    done = 0
    for number, shard in enumerate(dataset.manifest.shards):
        index, found = _check_shard(dataset, number, shard)
        problems += found
        if index is not None and not found:
            digest.update(shard.split, index.digest.tobytes())
            counts[shard.split] += dataset.counts_in(index)
            contents += shard_contents(index, shard.split)
            problems += seen.repeated(shard, index)
        done += shard.rows
        progress("checking", done, dataset.manifest.total)
    return problems or list(_check_whole(dataset, digest.finish(), counts, contents))


class _SeenRows:
    """The ids of all rows so far: a build writes an image once."""

    def __init__(self) -> None:
        self._ids: set[bytes] = set()

    def repeated(self, shard: Shard, index: ShardIndex) -> Iterator[str]:
        """Yield a sentence for the first row of a shard whose id was there before."""
        ids = [row_id.tobytes() for row_id in index.id]
        for at, row_id in enumerate(ids):
            if row_id in self._ids:
                yield f"the image of {row_name(shard, at)} is in another row before it"
                break
            self._ids.add(row_id)


def _check_whole(
    dataset: Dataset, digest: str, counts: dict[str, npt.NDArray[np.int64]], contents: int
) -> Iterator[str]:
    if dataset.manifest.contents != hex_contents(contents):
        yield f"contents {dataset.manifest.contents} is not the sum over the rows, {hex_contents(contents)}"
    if digest != dataset.digest:
        yield f"the dataset digest of rows and shards is {digest}, the manifest says {dataset.digest}"
    for split, expected in dataset.manifest.counts.items():
        if tuple(counts[split]) != expected:
            yield f"split {split} has {counts[split].tolist()} rows per class, not {list(expected)}"


def _check_shard(dataset: Dataset, number: int, shard: Shard) -> tuple[ShardIndex | None, list[str]]:
    try:
        index, problems = dataset.index(number), []
    except UserError as error:
        index, problems = None, [error.message.split("; ")[0]]
    try:
        limit = ObjectLimit(kind="this shard", most_bytes=shard.bytes)
        data = dataset.storage.read(shard.path, limit)
    except FileNotFoundError:
        return index, [*problems, f"shard {shard.path} is missing"]
    except OversizedObject as error:
        return index, [*problems, f"shard {shard.path} {error.problem.removeprefix('it ')}"]
    except UnreadableObject as error:
        return index, [*problems, f"shard {shard.path} cannot be read: {error.problem}"]
    except DamagedObject as error:
        return index, [*problems, f"shard {shard.path} cannot be read: {error.strerror}"]
    return index, [*problems, *_shard_problems(dataset, shard, index, data)]


def _shard_problems(dataset: Dataset, shard: Shard, index: ShardIndex | None, data: bytes) -> list[str]:
    problems = [*_batch_problems(shard, index, data)]
    if len(data) != shard.bytes:
        problems.insert(0, f"shard {shard.path} has {len(data)} bytes instead of {shard.bytes}")
    elif not problems and hashlib.sha256(data).hexdigest() != shard.sha256:
        problems.append(f"shard {shard.path} differs outside its batches (sha256)")
    if index is None or problems:
        return problems
    return [*_row_problems(dataset, shard, index, data)]


def _batch_problems(shard: Shard, index: ShardIndex | None, data: bytes) -> Iterator[str]:
    first = shard.first_row
    for number, batch in enumerate(shard.batches):
        part = memoryview(data)[batch.offset : batch.offset + batch.length]
        if hashlib.sha256(part).hexdigest() != batch.sha256:
            rows = f"rows {first} to {first + batch.rows - 1}"
            named = "" if index is None else _row_list(_differing_rows(shard, index, data, only=number))
            yield f"batch {number} of shard {shard.path} differs ({rows}{named})"
        first += batch.rows


def _row_list(rows: list[int]) -> str:
    if not rows:
        return "; no image differs"
    more = ", …" if len(rows) > _NAMED_ROWS else ""
    return f"; image of row {', '.join(map(str, rows[:_NAMED_ROWS]))}{more}"


def _differing_rows(shard: Shard, index: ShardIndex, data: bytes, *, only: int | None = None) -> list[int]:
    """Return the numbers of rows whose id, key, label and image differ from their digest."""
    positions = range(len(index)) if only is None else np.flatnonzero(index.batch == only).tolist()
    view = memoryview(data)
    differing = [at for at in positions if _digest_of(shard, index, view, at) != index.digest[at].tobytes()]
    return [shard.first_row + at for at in differing]


def _digest_of(shard: Shard, index: ShardIndex, data: memoryview, at: int) -> bytes:
    start = shard.batches[index.batch[at]].offset + int(index.offset[at])
    image = data[start : start + int(index.length[at])]
    digest = hashlib.sha256(index.head(at))
    digest.update(image)
    return digest.digest()


def _row_problems(dataset: Dataset, shard: Shard, index: ShardIndex, data: bytes) -> Iterator[str]:
    classes = len(dataset.classes)
    for row in _differing_rows(shard, index, data):
        yield f"row {row} of shard {shard.path} differs from its digest in the index"
    for at in np.flatnonzero((index.label < 0) | (index.label >= classes)):
        yield f"row {shard.first_row + at} of shard {shard.path} has label {index.label[at]}, of {classes}"
    try:
        table = read_table(data, shard_schema(dataset.manifest.task))
    except (pa.ArrowException, OSError, ValueError) as error:
        yield f"shard {shard.path} is no Arrow file of the expected columns: {error}"
        return
    yield from _column_problems(shard, index, table)


def _column_problems(shard: Shard, index: ShardIndex, table: pa.Table) -> Iterator[str]:
    """Compare the columns of the Arrow file with the index."""
    ids = [row_id.tobytes() for row_id in index.id]
    lengths = pa.compute.binary_length(table["image"]).to_pylist()
    marks: tuple[str, list[object]] = ("label", index.label.tolist())
    if index.target is not None:
        marks = ("target", list(index.target))
    for name, seen, indexed in (
        ("id", table["id"].to_pylist(), ids),
        (marks[0], table[marks[0]].to_pylist(), marks[1]),
        ("image length", lengths, index.length.tolist()),
    ):
        if seen != indexed:
            pairs = enumerate(zip(seen, indexed, strict=False))
            at = next((at for at, (one, other) in pairs if one != other), len(seen))
            yield f"row {shard.first_row + at} of shard {shard.path} has another {name} than its index"
