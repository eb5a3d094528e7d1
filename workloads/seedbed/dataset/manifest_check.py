"""What a manifest says is compared with its dataset digest, and bounded before anything is read by it.

The digest commits to classes, splits, row counts and row digests. Everything else is derived from these, or
only finds bytes whose digests are checked when they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

from seedbed.dataset.dataset_digest import DatasetDigest
from seedbed.dataset.file_format import SPLITS, Manifest, Shard, invalid_dataset
from seedbed.dataset.targets import MULTI_LABEL, SINGLE_LABEL, TASKS

MOST_BATCH_BYTES: Final = 2 << 30
"""Longest record batch: a reader holds one in memory."""
MOST_SHARD_ROWS: Final = 2**31 - 1
"""Positions in a shard are 32-bit numbers."""

_PATH: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}(/[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}){0,7}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")
_LEAST_ROW_BYTES: Final = 36
"""Id and label of a row in a record batch; its image comes on top."""


def require_consistent(manifest: Manifest, *, where: str) -> None:
    """Raise `UserError("InvalidDataset")` with the first problem of a manifest, whoever wrote it."""
    problem = next(_problems(manifest), None)
    if problem is not None:
        raise invalid_dataset(where, problem)


def require_committed(manifest: Manifest, *, path: str, where: str) -> None:
    """Raise `UserError("InvalidDataset")` unless the digest of a manifest is that of its content."""
    found = digest_of(manifest)
    if found != manifest.digest:
        problem = (
            f"{path} states digest {manifest.digest}, but its classes and the splits, rows and order of "
            f"its shards have {found}"
        )
        raise invalid_dataset(where, problem)


def digest_of(manifest: Manifest) -> str:
    """Return the dataset digest of classes and shards; every shard has its `rows_sha256`."""
    digest = DatasetDigest(manifest.classes, task=manifest.task)
    for shard in manifest.shards:
        assert shard.rows_sha256 is not None, shard.path
        digest.update_shard(shard.split, shard.rows, bytes.fromhex(shard.rows_sha256))
    return digest.finish()


def first_difference(manifest: Manifest, other: Manifest) -> str:
    """Return in words where a manifest differs from another in what the digest commits to."""
    if manifest.classes != other.classes:
        return "its classes"
    if manifest.task != other.task:
        return "its task"
    for mine, theirs in zip(manifest.shards, other.shards, strict=False):
        if _committed(mine) != _committed(theirs):
            return f"shard {mine.path}"
    return f"the number of its shards ({len(manifest.shards)} instead of {len(other.shards)})"


def _committed(shard: Shard) -> tuple[object, ...]:
    return shard.split, shard.rows, shard.rows_sha256


def _problems(manifest: Manifest) -> Iterator[str]:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", manifest.digest):
        yield f"digest {manifest.digest[:80]!r} is not sha256: and 64 hexadecimal digits"
    if manifest.version < 1:
        yield f"version {manifest.version} is less than 1"
    if manifest.task is not None and (manifest.task not in TASKS or manifest.task == SINGLE_LABEL):
        yield f"task {manifest.task[:80]!r} is not one of {', '.join(TASKS[1:])}"
    if not manifest.classes or len(set(manifest.classes)) < len(manifest.classes):
        yield "there are no classes, or one of them twice"
    first = 0
    for shard in manifest.shards:
        yield from _shard_problems(shard, first)
        first += shard.rows
    yield from _count_problems(manifest)


def _shard_problems(shard: Shard, first: int) -> Iterator[str]:
    for path in (shard.path, shard.index_path):
        if not _PATH.fullmatch(path):
            yield f"{path[:80]!r} is not a relative path of letters, digits, dots and dashes"
    whole = shard.first_row == first and shard.rows == sum(batch.rows for batch in shard.batches)
    if not whole or shard.split not in SPLITS or not 1 <= shard.rows <= MOST_SHARD_ROWS:
        yield f"first row, rows or split of shard {shard.path} are inconsistent"
    hashes = [shard.sha256, shard.index_sha256, *(batch.sha256 for batch in shard.batches)]
    if not all(map(_HASH.fullmatch, [*hashes, shard.rows_sha256 or hashes[0]])):
        yield f"a sha256 of shard {shard.path} is not 64 hexadecimal digits"
    yield from _batch_problems(shard)


def _batch_problems(shard: Shard) -> Iterator[str]:
    for number, batch in enumerate(shard.batches):
        fits = 1 <= batch.rows <= batch.length // _LEAST_ROW_BYTES and batch.length <= MOST_BATCH_BYTES
        if not fits or batch.offset < 0 or batch.offset + batch.length > shard.bytes:
            yield f"offset, length or rows of batch {number} of shard {shard.path} are impossible"
    for number, (one, next_one) in enumerate(pairwise(shard.batches)):
        if one.offset + one.length > next_one.offset:
            yield f"batches {number} and {number + 1} of shard {shard.path} overlap"


def _count_problems(manifest: Manifest) -> Iterator[str]:
    if not set(manifest.counts) <= set(SPLITS):
        yield f"there are counts of other splits than {', '.join(SPLITS)}"
    for split in SPLITS:
        counts = manifest.counts.get(split, (0,) * len(manifest.classes))
        fits = len(counts) == len(manifest.classes) and min(counts) >= 0
        if not fits or not _add_up(manifest.task, counts, manifest.rows(split)):
            yield f"the counts of split {split} do not add up"


def _add_up(task: str | None, counts: tuple[int, ...], rows: int) -> bool:
    if task is None:
        return sum(counts) == rows
    return max(counts) <= rows if task == MULTI_LABEL else set(counts) == {rows}
