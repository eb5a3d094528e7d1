"""Open a dataset: its manifest, verified indices and record batches, and views of its rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Iterator, MutableMapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from seedbed.dataset.file_format import SPLITS, Manifest, Shard, invalid_dataset
from seedbed.dataset.manifest_reader import read_manifest
from seedbed.dataset.row_view import RowView, ViewShard, all_rows, selected_rows
from seedbed.dataset.shard_io import ShardIndex
from seedbed.dataset.shard_reader import in_parallel, iter_images, read_batch, read_index
from seedbed.dataset.split_assignment import fold_of, in_subset, select_positions
from seedbed.dataset.targets import SINGLE_LABEL, target_counts
from seedbed.storage import Storage
from seedbed_api.errors import UserError, refusal

_INDICES_KEPT = 16


class Dataset:
    """An opened dataset. Picklable; safe to use from several threads; caches at most 16 indices."""

    def __init__(
        self,
        storage: Storage,
        manifest: Manifest,
        *,
        checked_indices: str | None = None,
        names_row_digests: bool = True,
    ) -> None:
        """`names_row_digests`: whether the manifest has those of its shards, as all do that are written now.

        `checked_indices`: see `open_dataset`.
        """
        self.storage = storage
        self.manifest = manifest
        self.names_row_digests = names_row_digests
        self._counts: dict[str, npt.NDArray[np.int64]] = {}
        known = checked_indices is not None and checked_indices == self.indices_digest
        self._checked: set[int] = set(range(len(manifest.shards))) if known else set()
        self._indices: MutableMapping[int, ShardIndex] = LRUCache(_INDICES_KEPT)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        whole = len(self._checked) == len(self.manifest.shards)
        checked = self.indices_digest if whole else None
        return (_unpickled, (self.storage, self.manifest, checked, self.names_row_digests))

    @property
    def digest(self) -> str:
        """Return `sha256:…` over the logical rows."""
        return self.manifest.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order; of a regression the names of its numbers."""
        return self.manifest.classes

    @property
    def task(self) -> str:
        """Return what rows are labelled with, one of `targets.TASKS`."""
        return self.manifest.task or SINGLE_LABEL

    def index(self, shard: int) -> ShardIndex:
        """Return a shard's index, read once and verified; `UserError("InvalidDataset")` where it differs."""
        with self._lock:
            cached = self._indices.get(shard)
        if cached is not None:
            return cached
        entry, task = self.manifest.shards[shard], self.manifest.task
        index = read_index(self.storage, entry, classes=len(self.classes), task=task)
        with self._lock:
            self._indices[shard] = index
        return index

    def read_batch(self, shard: int, batch: int) -> bytes:
        """Return the bytes of a record batch; an image is a slice of them (see `ShardIndex`)."""
        return read_batch(self.storage, self.manifest.shards[shard], batch)

    def images(self, shard: int) -> Iterator[tuple[int, bytes]]:
        """Yield position and image of each row of a shard; `UserError` at the first that is another."""
        return iter_images(self.storage, self.manifest.shards[shard], self.index(shard))

    @property
    def indices_digest(self) -> str:
        """Return a digest over the indices of all shards."""
        hashes = "".join(shard.index_sha256 for shard in self.manifest.shards)
        return hashlib.sha256(hashes.encode()).hexdigest()

    def check_rows(self) -> str:
        """Read all rows once and compare each with its digest; return `indices_digest`.

        The dataset digest commits to the key of a row by the digest of the row, so a key is known to be true
        only once the image has been read. A selection by keys leaves rows unread, which could be others.
        """
        self._check_shards(range(len(self.manifest.shards)))
        return self.indices_digest

    def view(
        self,
        *,
        split: str = "train",
        subset: str | Fraction | None = None,
        fold: tuple[int, int] | None = None,
        part: str | None = None,
    ) -> RowView:
        """Return the rows of a split, or of one side of a fold, cut to a subset.

        A fold `(index, count)` cuts train and validation together: `part` (else `split`) "train" is every row
        of another fold, "validation" is the fold itself; test is never cut by a fold.
        """
        return RowView(shards=tuple(self._view_shards(part or split, subset, fold)))

    def rows_per_class(
        self,
        *,
        split: str = "train",
        subset: str | Fraction | None = None,
        fold: tuple[int, int] | None = None,
    ) -> npt.NDArray[np.int64]:
        """Return how many rows of each class the view of these arguments has, shape (classes,).

        A row of several labels counts for each of them.
        """
        counts = np.zeros(len(self.classes), np.int64)
        if fold is None and (subset is None or _parse_fraction(subset) == 1):
            return counts + self._counts_of(split)
        for shard in self._view_shards(split, subset, fold):
            counts += self.counts_in(self.index(shard.shard), shard.selected)
        return counts

    def _view_shards(
        self, wanted: str, subset: str | Fraction | None, fold: tuple[int, int] | None
    ) -> Iterator[ViewShard]:
        fraction = None if subset is None else _parse_fraction(subset)
        _require_valid_fold(fold)
        numbers = self._shards_of(*_splits_of_view(wanted, folded=fold is not None))
        if (fold is not None and wanted != "test") or fraction not in (None, 1):
            self._check_shards(numbers)
        for number in numbers:
            view = self._view_shard(number, self.manifest.shards[number], wanted, fraction, fold)
            if view.rows:
                yield view

    def _shards_of(self, *splits: str) -> list[int]:
        return [number for number, shard in enumerate(self.manifest.shards) if shard.split in splits]

    def _check_shards(self, numbers: Iterable[int]) -> None:
        """Read the rows of shards that were not checked yet; `UserError` names the first that differs."""
        missing = [number for number in numbers if number not in self._checked]
        for number in in_parallel(self._check_shard, missing):
            self._checked.add(number)

    def _check_shard(self, number: int) -> int:
        for _ in self.images(number):
            pass
        return number

    def _counts_of(self, split: str) -> npt.NDArray[np.int64]:
        """Return the rows per class of a split by the labels of its indices; the manifest must agree."""
        if split not in self._counts:
            counts = in_parallel(lambda number: self.counts_in(self.index(number)), self._shards_of(split))
            found = sum(counts, np.zeros(len(self.classes), np.int64))
            if found.tolist() != list(self.manifest.counts.get(split, found * 0)):
                problem = f"the counts of split {split} are not those of the labels in its indices"
                raise invalid_dataset(self.storage.url, problem)
            self._counts[split] = found
        return self._counts[split]

    def counts_in(
        self, index: ShardIndex, selected: npt.NDArray[np.int32] | None = None
    ) -> npt.NDArray[np.int64]:
        """Return the rows per class of an index, or of some of its rows."""
        if index.target is not None:
            positions = range(len(index)) if selected is None else selected.tolist()
            return target_counts(self.task, [index.target[at] for at in positions], len(self.classes))
        labels = index.label if selected is None else index.label[selected]
        return np.bincount(labels, minlength=len(self.classes))

    def _view_shard(
        self, number: int, shard: Shard, wanted: str, fraction: Fraction | None, fold: tuple[int, int] | None
    ) -> ViewShard:
        if wanted == "test":
            fold = None
        if fold is None and (fraction is None or fraction == 1):
            return all_rows(number, shard)

        def accepts(key: bytes) -> bool:
            if fold is not None and (fold_of(key, fold[1]) == fold[0]) != (wanted == "validation"):
                return False
            return fraction is None or in_subset(key, fraction)

        return selected_rows(number, shard, select_positions(self.index(number).key, accepts))


def _unpickled(
    storage: Storage, manifest: Manifest, checked_indices: str | None, names_row_digests: bool
) -> Dataset:
    return Dataset(storage, manifest, checked_indices=checked_indices, names_row_digests=names_row_digests)


def _splits_of_view(wanted: str, *, folded: bool) -> tuple[str, ...]:
    assert wanted in SPLITS, wanted
    return ("train", "validation") if folded and wanted != "test" else (wanted,)


def _parse_fraction(subset: str | Fraction) -> Fraction:
    try:
        fraction = Fraction(subset)
    except (ValueError, ZeroDivisionError):
        fraction = Fraction(0)
    if not 0 < fraction <= 1:
        problem = "the fraction of a subset is a number above 0 and at most 1"
        raise UserError(
            "InvalidSpec", refusal("dataset.subset.fraction", str(subset), problem, 'write for example "0.1"')
        )
    return fraction


def _require_valid_fold(fold: tuple[int, int] | None) -> None:
    if fold is not None and not (fold[1] >= 2 and 0 <= fold[0] < fold[1]):
        fix = "write an index from 0 to count - 1 and a count of at least 2"
        raise UserError("InvalidSpec", refusal("dataset.fold", fold, "no such fold", fix))


def open_dataset(
    storage: Storage, *, digest: str | None = None, checked_indices: str | None = None
) -> Dataset:
    """Open a dataset whose manifest says what its digest commits to; with `digest`, that version of it.

    `checked_indices`: the `indices_digest` of a dataset whose rows were all checked a moment ago.
    `UserError("InvalidDataset")` where there is none, it is damaged or contradicts its digest,
    `UserError("DatasetChanged")` where there is no such version.
    """
    manifest, current = read_manifest(storage, digest)
    return Dataset(storage, manifest, checked_indices=checked_indices, names_row_digests=current)
