"""The stream of a run: a picklable specification, and an opened stream that renders any leaf of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from cachetools import LRUCache

from seedbed.augmentation import Sizing, Transform, for_evaluation, render_head, render_rest, sizing_head
from seedbed.dataset import Dataset, View, open_dataset
from seedbed.feed.batch_cache import BatchCache
from seedbed.feed.batch_reader import BatchReader, CachedBatchReader, LocalBatchReader, damaged
from seedbed.feed.bounded_folder import folder_usage
from seedbed.feed.decoded_cache import DecodedCache
from seedbed.feed.decoded_cache_policy import Origin, Shelf, decoded_bytes, worth_keeping
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.micro_batch import EvaluationBatch, MicroBatch
from seedbed.feed.store_retry import StoreRetry
from seedbed.images.image_decoder import UndecodableImageError, picture_size
from seedbed.order import WINDOW, BatchPlan, EpochShuffle
from seedbed.storage import LocalStorage, open_storage
from seedbed_api.errors import UserError, refusal

Rows = npt.NDArray[np.int64]
Pixels = npt.NDArray[np.uint8]

DEFAULT_CACHE_BYTES: Final = 20 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamSpec:
    """What a process needs to serve any (step, leaf) of a run. Picklable, hashable, a few hundred bytes."""

    dataset_url: str
    digest: str | None
    """Pinned dataset digest; another one is refused."""
    seed: int
    leaves: int
    leaf_rows: int
    total_steps: int
    epochs: int | None = None
    """Epochs of the run where it is given in epochs; only the fill rows need it."""
    transforms: tuple[Transform, ...] = ()
    window: int = WINDOW
    split: str = "train"
    subset: str | None = None
    fold: tuple[int, int] | None = None
    secret: Path | None = None
    cache_folder: Path | None = None
    """Shared by the processes of a node; None keeps a bounded number of record batches in memory."""
    cache_bytes: int = DEFAULT_CACHE_BYTES
    """Of record batches and decoded pictures together."""
    shared: bool = False
    """Other runs on this node ask for the same pictures (a sweep): each is decoded once for all of them."""
    read_in_place: bool = True
    """Read local datasets where they lie; False sends them through the cache like remote ones."""
    retry_seconds: float = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Columns:
    """What is needed of a shard's index."""

    batch: npt.NDArray[np.int32]
    batch_first: npt.NDArray[np.int64]
    """First position of every batch."""
    offset: npt.NDArray[np.int64]
    length: npt.NDArray[np.int64]
    label: npt.NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Wanted:
    """One picture of a leaf."""

    slot: int
    epoch: int
    shard: int
    batch: int
    origin: Origin


class Stream:
    """An opened stream; safe to use from several threads. Memory: indices of two windows and the caches."""

    def __init__(self, spec: StreamSpec) -> None:
        self.spec = spec
        self.stopped = threading.Event()
        retry = StoreRetry(seconds=spec.retry_seconds, stopped=self.stopped)
        storage = open_storage(spec.dataset_url, secret=spec.secret)
        self.dataset: Dataset = retry.call(lambda: open_dataset(storage, digest=spec.digest))
        self._retry = retry
        self._first_rows = np.array([shard.first_row for shard in self.dataset.manifest.shards], np.int64)
        self._columns: MutableMapping[int, _Columns] = LRUCache(2 * spec.window + 4)
        self._lock = threading.Lock()
        training = self.view(spec.split)
        self._needed_shards = self._selected_batches(training)
        epochs = spec.total_steps * spec.leaves * spec.leaf_rows / max(training.count, 1)
        self._decoded = self._open_decoded(epochs)
        self._batches = self._open_batches()
        self._shelves: dict[Sizing | None, Shelf] = {}

    def view(self, split: str) -> View:
        """Return a split's rows under subset and fold; `UserError` where there are none to train on."""
        spec = self.spec
        view = self._retry.call(lambda: self.dataset.view(split=split, subset=spec.subset, fold=spec.fold))
        if split == spec.split and view.count == 0:
            fix = "choose another split, fold or a larger subset"
            problem = f"no rows in split {split} after subset and fold"
            raise UserError(
                "InvalidDataset", refusal("spec.dataset.uri", self.dataset.storage.url, problem, fix)
            )
        return view

    def plan(self) -> BatchPlan:
        """Return the plan of the run."""
        spec = self.spec
        order = EpochShuffle(seed=spec.seed, view=self.view(spec.split), window=spec.window)
        return BatchPlan(
            order=order,
            leaves=spec.leaves,
            leaf_rows=spec.leaf_rows,
            total_steps=spec.total_steps,
            epochs=spec.epochs,
        )

    def micro_batch(self, plan: BatchPlan, step: int, leaf: int) -> MicroBatch:
        """Fetch, decode and augment one leaf."""
        rows_m = plan.rows(step, leaf)
        epochs_m = plan.epochs_of(step, leaf)
        labels_m, pixels_mhwc = self.pictures(rows_m, epochs_m, self.spec.transforms)
        return MicroBatch(step=step, leaf=leaf, rows_m=rows_m, labels_m=labels_m, pixels_mhwc=pixels_mhwc)

    def evaluation_batch(self, rows_n: Rows, index: int, batch_rows: int) -> EvaluationBatch:
        """Fetch and resize batch `index` of the rows of a split; the last one repeats its last row."""
        own = rows_n[index * batch_rows : (index + 1) * batch_rows]
        rows_b = np.concatenate([own, np.repeat(own[-1:], batch_rows - len(own))])
        labels, pixels = self.pictures(own, np.zeros_like(own), for_evaluation(self.spec.transforms))
        fill = batch_rows - len(own)
        return EvaluationBatch(
            index=index,
            count=len(own),
            rows_b=rows_b,
            labels_b=np.concatenate([labels, np.repeat(labels[-1:], fill)]),
            pixels_bhwc=np.concatenate([pixels, np.repeat(pixels[-1:], fill, axis=0)]) if fill else pixels,
        )

    def pictures(self, rows_m: Rows, epochs_m: Rows, transforms: Sequence[Transform]) -> tuple[Rows, Pixels]:
        """Return labels, shape (m,), and rendered pixels, shape (m, H, W, 3), of dataset rows."""
        labels_m = np.empty(len(rows_m), np.int64)
        pixels_mhwc: Pixels | None = None
        wanted = list(self._wanted(rows_m, epochs_m, labels_m))
        for wait in (False, True):  # what others are decoding comes last: meanwhile the next ones are done
            later = []
            for picture in wanted:
                pixels = self._rendered(picture, transforms, wait=wait)
                if pixels is None:
                    later.append(picture)
                    continue
                if pixels_mhwc is None:
                    pixels_mhwc = np.empty((len(rows_m), *pixels.shape), np.uint8)
                if pixels.shape != pixels_mhwc.shape[1:]:
                    raise _of_unlike_size(pixels_mhwc.shape[1:], pixels.shape)
                pixels_mhwc[picture.slot] = pixels
            wanted = later
        assert pixels_mhwc is not None, "a leaf has at least one row"
        return labels_m, pixels_mhwc

    def close(self) -> None:
        """Make waiting reads give up."""
        self.stopped.set()

    def _wanted(self, rows_m: Rows, epochs_m: Rows, labels_m: Rows) -> Iterator[_Wanted]:
        """Yield where the rows lie, and fill in their labels."""
        shards = np.searchsorted(self._first_rows, rows_m, side="right") - 1
        places = zip(rows_m.tolist(), epochs_m.tolist(), shards.tolist(), strict=True)
        for slot, (row, epoch, shard) in enumerate(places):
            columns = self._index(shard)
            position = row - int(self._first_rows[shard])
            batch = int(columns.batch[position])
            labels_m[slot] = columns.label[position]
            origin = Origin(
                batch=self.dataset.manifest.shards[shard].batches[batch].sha256,
                place=position - int(columns.batch_first[batch]),
                row=row,
                start=int(columns.offset[position]),
                length=int(columns.length[position]),
            )
            yield _Wanted(slot=slot, epoch=epoch, shard=shard, batch=batch, origin=origin)

    def _rendered(self, wanted: _Wanted, transforms: Sequence[Transform], *, wait: bool) -> Pixels | None:
        """Return a picture, or None where another one is decoding it and it is not to be waited for."""
        head = sizing_head(transforms)
        pixels = self._begun(wanted, head, wait=wait)
        if pixels is None:
            return None
        return render_rest(transforms, pixels, seed=self.spec.seed, epoch=wanted.epoch, row=wanted.origin.row)

    def _begun(self, wanted: _Wanted, head: Sizing | None, *, wait: bool) -> Pixels | None:
        """Return what a head makes of a picture, whoever has made it."""
        make = partial(self._decode, wanted, head)
        shelf = self._shelf(head)
        if shelf is None:
            return make()
        slot = shelf.slot(wanted.origin, epoch=wanted.epoch, size=partial(self._size, wanted))
        return make() if slot is None else shelf.get_or_decode(slot, make, wait=wait)

    def _decode(self, wanted: _Wanted, head: Sizing | None) -> Pixels:
        data = self._image(wanted)
        with self._decoding(wanted):
            pixels = render_head(head, data, seed=self.spec.seed, epoch=wanted.epoch, row=wanted.origin.row)
        IO_COUNTERS.decode()
        return pixels

    def _size(self, wanted: _Wanted) -> tuple[int, int]:
        data = self._image(wanted)
        with self._decoding(wanted):
            return picture_size(data)

    @contextlib.contextmanager
    def _decoding(self, wanted: _Wanted) -> Iterator[None]:
        try:
            yield
        except UndecodableImageError as error:
            problem = f"row {wanted.origin.row} cannot be decoded ({error})"
            raise damaged(self.dataset, wanted.shard, problem) from error

    def _image(self, wanted: _Wanted) -> bytes:
        return self._batches.read(wanted.shard, wanted.batch, wanted.origin.start, wanted.origin.length)

    def _shelf(self, head: Sizing | None) -> Shelf | None:
        if self._decoded is None:
            return None
        with self._lock:
            if head not in self._shelves:
                rows = sum(shard.rows for shard in self.dataset.manifest.shards)
                spec = self.spec
                shelf = Shelf(self._decoded, head, seed=spec.seed, rows=rows, shared=spec.shared)
                self._shelves[head] = shelf
            return self._shelves[head]

    def _index(self, shard: int) -> _Columns:
        with self._lock:
            cached = self._columns.get(shard)
        if cached is not None:
            return cached
        index = self._retry.call(lambda: self.dataset.index(shard))
        count = len(self.dataset.manifest.shards[shard].batches)
        columns = _Columns(
            batch=index.batch,
            batch_first=np.searchsorted(index.batch, np.arange(count)),
            offset=index.offset,
            length=index.length,
            label=index.label,
        )
        with self._lock:
            self._columns[shard] = columns
        return columns

    def _open_batches(self) -> BatchReader:
        if self.spec.read_in_place and isinstance(self.dataset.storage, LocalStorage):
            return LocalBatchReader(self.dataset, retry=self._retry)
        cache = None if self.spec.cache_folder is None else self._open_cache(self.spec.cache_folder)
        return CachedBatchReader(self.dataset, retry=self._retry, cache=cache, needed=self._needed)

    def _open_cache(self, folder: Path) -> BatchCache:
        pictures = self._decoded.bound if self._decoded else folder_usage(folder / "decoded").bytes
        bound = max(self.spec.cache_bytes - pictures, 0)
        cache = BatchCache(folder, bound=bound, stopped=self.stopped)
        cache.shrink()
        return cache

    def _open_decoded(self, epochs: float) -> DecodedCache | None:
        """Return where decoded pictures are kept, None where those of the training would not be."""
        spec, head = self.spec, sizing_head(self.spec.transforms)
        if spec.cache_folder is None or not worth_keeping(head, shared=spec.shared, epochs=epochs):
            return None
        return DecodedCache(
            spec.cache_folder / "decoded", bound=decoded_bytes(spec.cache_bytes), stopped=self.stopped
        )

    def _needed(self, shard: int, batch: int) -> bool:
        """Say whether the training view has a row in a batch: its window will want it soon."""
        selected = self._needed_shards.get(shard, _NONE)
        if selected is None:
            return True
        wanted = self._index(shard).batch[selected]
        return bool(np.any(wanted == batch))

    @staticmethod
    def _selected_batches(view: View) -> dict[int, npt.NDArray[np.int32] | None]:
        return {shard.shard: shard.selected for shard in view.shards}


_NONE: Final = np.empty(0, np.int32)


def _of_unlike_size(first: tuple[int, ...], other: tuple[int, ...]) -> UserError:
    sizes = f"{first[1]}x{first[0]} and {other[1]}x{other[0]}"
    problem = "pictures of one batch differ in size"
    fix = "begin with Resize or RandomResizedCrop"
    return UserError("InvalidSpec", refusal("spec.training.augmentation", sizes, problem, fix))
