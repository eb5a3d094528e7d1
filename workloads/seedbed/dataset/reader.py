"""Open a dataset: its manifest, verified indices and record batches, and views of its rows."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, MutableMapping
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cachetools import LRUCache

from seedbed.dataset.file_format import (
    MANIFEST,
    SPLITS,
    VERSIONS,
    Manifest,
    Shard,
    invalid_dataset,
    load_manifest,
)
from seedbed.dataset.row_view import RowView, ViewShard, all_rows, selected_rows
from seedbed.dataset.shard_io import ShardIndex, decode_index
from seedbed.dataset.split_assignment import fold_of, in_subset, select_positions
from seedbed.storage import DamagedObject, LocalStorage, Storage
from seedbed_api.errors import UserError, refusal

_INDICES_KEPT = 16


class Dataset:
    """An opened dataset. Picklable; safe to use from several threads; caches at most 16 indices."""

    def __init__(self, storage: Storage, manifest: Manifest) -> None:
        self.storage = storage
        self.manifest = manifest
        self._indices: MutableMapping[int, ShardIndex] = LRUCache(_INDICES_KEPT)
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[object, ...]:
        return (Dataset, (self.storage, self.manifest))

    @property
    def digest(self) -> str:
        """Return `sha256:…` over the logical rows."""
        return self.manifest.digest

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the class names in label order."""
        return self.manifest.classes

    def index(self, shard: int) -> ShardIndex:
        """Return a shard's index, read once and verified; `UserError("InvalidDataset")` where it differs."""
        with self._lock:
            cached = self._indices.get(shard)
        if cached is not None:
            return cached
        index = self._read_index(self.manifest.shards[shard])
        with self._lock:
            self._indices[shard] = index
        return index

    def read_batch(self, shard: int, batch: int) -> bytes:
        """Return the verified bytes of a record batch; an image is a slice of them (see `ShardIndex`)."""
        entry = self.manifest.shards[shard]
        place = entry.batches[batch]
        try:
            data = self.storage.read_range(entry.path, place.offset, place.length)
        except OSError as error:
            raise invalid_dataset(
                self.storage.url, f"batch {batch} of shard {entry.path} cannot be read", detail=str(error)
            ) from error
        if hashlib.sha256(data).hexdigest() != place.sha256:
            raise invalid_dataset(
                self.storage.url, f"batch {batch} of shard {entry.path} differs from the manifest (sha256)"
            )
        return data

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
        """Return how many rows of each class the view of these arguments has, shape (classes,)."""
        counts = np.zeros(len(self.classes), np.int64)
        if fold is None and (subset is None or _parse_fraction(subset) == 1):
            return counts + np.array(self.manifest.counts.get(split, 0), np.int64)
        for shard in self._view_shards(split, subset, fold):
            labels = self.index(shard.shard).label
            kept = labels if shard.selected is None else labels[shard.selected]
            counts += np.bincount(kept, minlength=len(counts))
        return counts

    def _view_shards(
        self, wanted: str, subset: str | Fraction | None, fold: tuple[int, int] | None
    ) -> Iterator[ViewShard]:
        fraction = None if subset is None else _parse_fraction(subset)
        _require_valid_fold(fold)
        for number, shard in enumerate(self.manifest.shards):
            if shard.split in _splits_of_view(wanted, folded=fold is not None):
                view = self._view_shard(number, shard, wanted, fraction, fold)
                if view.rows:
                    yield view

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

    def _read_index(self, shard: Shard) -> ShardIndex:
        try:
            data = self.storage.read(shard.index_path)
        except FileNotFoundError as error:
            raise invalid_dataset(self.storage.url, f"index {shard.index_path} is missing") from error
        except DamagedObject as error:
            problem = f"index {shard.index_path} cannot be read"
            raise invalid_dataset(self.storage.url, problem, detail=str(error.strerror)) from error
        if hashlib.sha256(data).hexdigest() != shard.index_sha256:
            raise invalid_dataset(
                self.storage.url, f"index {shard.index_path} differs from the manifest (sha256)"
            )
        try:
            index = decode_index(data)
        except (pa.ArrowInvalid, ValueError) as error:
            raise invalid_dataset(
                self.storage.url, f"index {shard.index_path} is unreadable", detail=str(error)
            ) from error
        if len(index) != shard.rows:
            raise invalid_dataset(
                self.storage.url, f"index {shard.index_path} has {len(index)} rows instead of {shard.rows}"
            )
        return index


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


def open_dataset(storage: Storage, *, digest: str | None = None) -> Dataset:
    """Open a dataset; with `digest`, that version of it.

    `UserError("InvalidDataset")` where there is none or it is damaged, `UserError("DatasetChanged")` where
    there is no such version.
    """
    manifest = _read_manifest(storage, MANIFEST)
    if digest is None or manifest.digest == digest:
        return Dataset(storage, manifest)
    older = version_path(digest)
    if storage.exists(older):
        return Dataset(storage, _read_manifest(storage, older))
    fix = "point uri at the pinned dataset, or pin the new digest if the change is meant"
    raise UserError(
        "DatasetChanged", refusal("dataset.digest", digest, f"{storage.url} now holds {manifest.digest}", fix)
    )


def version_path(digest: str) -> str:
    """Return the path of the manifest of one version."""
    return f"{VERSIONS}/{digest.removeprefix('sha256:')}.json"


def _read_manifest(storage: Storage, path: str) -> Manifest:
    try:
        data = storage.read(path)
    except FileNotFoundError as error:
        problem, fix = _no_dataset(storage, path)
        raise UserError("InvalidDataset", refusal("dataset.uri", storage.url, problem, fix)) from error
    except DamagedObject as error:
        raise invalid_dataset(storage.url, f"{path} cannot be read", detail=str(error.strerror)) from error
    return load_manifest(data, where=storage.url)


def _no_dataset(storage: Storage, path: str) -> tuple[str, str]:
    """Return problem and fix where there is no manifest: a folder, a file, or a file of a dataset."""
    folder, _, name = storage.url.rpartition("/")
    is_file = isinstance(storage, LocalStorage) and storage.root.is_file()
    problem = "is a file, not a folder" if is_file else f"there is no dataset here ({path} is missing)"
    if name == MANIFEST:
        return problem, f"give the folder that holds it: {folder}"
    fix = "give the folder that `seedbed dataset build` wrote"
    return problem, f"{fix} from it, once unpacked if it is an archive" if is_file else fix
