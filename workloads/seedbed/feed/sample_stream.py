"""The samples of a run: any micro-batch of its plan, any batch of an evaluation."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seedbed.augmentation import Transform, for_evaluation, sizing_head
from seedbed.dataset import Dataset, RowView, open_dataset
from seedbed.dataset.targets import decode_targets
from seedbed.feed.batch_reader import BatchReader, CachedBatchReader, LocalBatchReader
from seedbed.feed.bounded_folder import folder_usage
from seedbed.feed.decoded_cache import DecodedCache
from seedbed.feed.decoded_cache_policy import decoded_bytes, worth_caching
from seedbed.feed.feed_retry import StoreRetry
from seedbed.feed.image_renderer import ImageRenderer
from seedbed.feed.micro_batch import EvaluationBatch, MicroBatch
from seedbed.feed.record_batch_cache import BatchCache
from seedbed.feed.shard_index_cache import ImageLocation, ShardIndexCache
from seedbed.feed.stream_spec import StreamSpec
from seedbed.order import BatchPlan, EpochShuffle
from seedbed.storage import LocalStorage, open_storage
from seedbed_api.errors import UserError, refusal

Rows = npt.NDArray[np.int64]
Targets = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]
Selected = npt.NDArray[np.int32] | None
"""Positions of a shard that a view selects; None: all of them."""

_NO_POSITIONS = np.empty(0, np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleStream:
    """An opened stream; safe to use from several threads. Memory: indices of two windows and the caches."""

    spec: StreamSpec
    dataset: Dataset
    retry: StoreRetry
    indices: ShardIndexCache
    renderer: ImageRenderer

    def view(self, split: str) -> RowView:
        """Return a split's rows under subset and fold; `UserError` where there are none to train on."""
        return _view(self.dataset, self.spec, split, retry=self.retry)

    def plan(self) -> BatchPlan:
        """Return the plan of the run."""
        spec = self.spec
        order = EpochShuffle(seed=spec.seed, view=self.view(spec.split), window=spec.window)
        return BatchPlan(
            order=order,
            leaves=spec.leaves,
            leaf_rows=spec.leaf_rows,
            total_steps=spec.total_steps,
        )

    def micro_batch(self, plan: BatchPlan, step: int, leaf: int) -> MicroBatch:
        """Return the rows of one leaf: fetched, decoded and augmented."""
        rows_m = plan.rows(step, leaf)
        epochs_m = plan.epochs_of(step, leaf)
        labels_m, pixels_mhwc = self.images(rows_m, epochs_m, self.spec.transforms)
        return MicroBatch(step=step, leaf=leaf, rows_m=rows_m, labels_m=labels_m, pixels_mhwc=pixels_mhwc)

    def evaluation_batch(self, rows_n: Rows, index: int, batch_rows: int) -> EvaluationBatch:
        """Return batch `index` of the rows of a split, resized; the last one repeats its last row."""
        own = rows_n[index * batch_rows : (index + 1) * batch_rows]
        rows_b = np.concatenate([own, np.repeat(own[-1:], batch_rows - len(own))])
        labels, pixels = self.images(own, np.zeros_like(own), for_evaluation(self.spec.transforms))
        fill = batch_rows - len(own)
        return EvaluationBatch(
            index=index,
            count=len(own),
            rows_b=rows_b,
            labels_b=np.concatenate([labels, np.repeat(labels[-1:], fill, axis=0)]),
            pixels_bhwc=np.concatenate([pixels, np.repeat(pixels[-1:], fill, axis=0)]) if fill else pixels,
        )

    def images(self, rows_m: Rows, epochs_m: Rows, transforms: Sequence[Transform]) -> tuple[Targets, Pixels]:
        """Return targets, shape (m, …), and rendered pixels, shape (m, H, W, 3), of dataset rows."""
        locations = self.indices.locate(rows_m)
        rendered = self._rendered(locations, epochs_m.tolist(), transforms)
        return self._targets(locations), _stacked(rendered, len(locations))

    def _targets(self, locations: Sequence[ImageLocation]) -> Targets:
        if self.dataset.manifest.task is None:
            return np.array([location.label for location in locations], np.int64)
        targets = [location.target for location in locations]
        return decode_targets(self.dataset.task, targets, len(self.dataset.classes))

    def close(self) -> None:
        """Make waiting reads give up."""
        self.retry.stopped.set()

    def _rendered(
        self, locations: Sequence[ImageLocation], epochs: Sequence[int], transforms: Sequence[Transform]
    ) -> Iterator[tuple[int, Pixels]]:
        """Yield positions and images; those that other readers are decoding come last."""
        pending = list(enumerate(locations))
        for wait in (False, True):
            deferred = []
            for position, location in pending:
                pixels = self.renderer.render(location, transforms, epoch=epochs[position], wait=wait)
                if pixels is None:
                    deferred.append((position, location))
                else:
                    yield position, pixels
            pending = deferred


def open_stream(spec: StreamSpec) -> SampleStream:
    """Open a dataset and its caches; `UserError` where it is another one or has no rows to train on."""
    retry = StoreRetry(seconds=spec.retry_seconds, stopped=threading.Event())
    storage = open_storage(spec.dataset_url, secret=spec.secret)
    dataset = retry.call(
        lambda: open_dataset(storage, digest=spec.digest, checked_indices=spec.checked_indices)
    )
    training = _view(dataset, spec, spec.split, retry=retry)
    indices = ShardIndexCache(dataset, retry=retry, size=2 * spec.window + 4)
    cache = _open_decoded_cache(spec, training, stopped=retry.stopped)
    batches = _open_batches(spec, dataset, _NeededBatches(training, indices), retry=retry, decoded=cache)
    renderer = ImageRenderer(dataset, batches, cache=cache, seed=spec.seed, shared=spec.shared)
    return SampleStream(spec=spec, dataset=dataset, retry=retry, indices=indices, renderer=renderer)


def _view(dataset: Dataset, spec: StreamSpec, split: str, *, retry: StoreRetry) -> RowView:
    view = retry.call(lambda: dataset.view(split=split, subset=spec.subset, fold=spec.fold))
    if split == spec.split and view.count == 0:
        problem = f"no rows in split {split} after subset and fold"
        fix = "choose another split, fold or a larger subset"
        raise UserError("InvalidDataset", refusal("spec.dataset.uri", dataset.storage.url, problem, fix))
    return view


class _NeededBatches:
    """Which record batches have a row of the training view: its window will ask for them soon."""

    def __init__(self, training: RowView, indices: ShardIndexCache) -> None:
        self._selected: Mapping[int, Selected] = {shard.shard: shard.selected for shard in training.shards}
        self._indices = indices

    def __call__(self, shard: int, batch: int) -> bool:
        selected = self._selected.get(shard, _NO_POSITIONS)
        return selected is None or bool(np.any(self._indices.batches(shard)[selected] == batch))


def _open_decoded_cache(
    spec: StreamSpec, training: RowView, *, stopped: threading.Event
) -> DecodedCache | None:
    """Return the cache of decoded images, None where no training image would be read from it again."""
    epochs = spec.total_steps * spec.leaves * spec.leaf_rows / max(training.count, 1)
    sizing = sizing_head(spec.transforms)
    if spec.cache_folder is None or not worth_caching(sizing, shared=spec.shared, epochs=epochs):
        return None
    return DecodedCache(
        _decoded_folder(spec.cache_folder), bound=decoded_bytes(spec.cache_bytes), stopped=stopped
    )


def _open_batches(
    spec: StreamSpec,
    dataset: Dataset,
    needed: _NeededBatches,
    *,
    retry: StoreRetry,
    decoded: DecodedCache | None,
) -> BatchReader:
    if spec.read_in_place and isinstance(dataset.storage, LocalStorage):
        return LocalBatchReader(dataset, retry=retry)
    cache = None
    if spec.cache_folder is not None:
        images = decoded.bound if decoded else folder_usage(_decoded_folder(spec.cache_folder)).bytes
        bound = max(spec.cache_bytes - images, 0)
        cache = BatchCache(spec.cache_folder, bound=bound, stopped=retry.stopped)
        cache.shrink()
    return CachedBatchReader(dataset, retry=retry, cache=cache, needed=needed)


def _decoded_folder(cache_folder: Path) -> Path:
    return cache_folder / "decoded"


def _stacked(images: Iterator[tuple[int, Pixels]], count: int) -> Pixels:
    """Return images in one array, each at its position; `UserError` where they differ in size."""
    pixels_mhwc: Pixels | None = None
    for position, pixels in images:
        if pixels_mhwc is None:
            pixels_mhwc = np.empty((count, *pixels.shape), np.uint8)
        if pixels.shape != pixels_mhwc.shape[1:]:
            raise _different_sizes(pixels_mhwc.shape[1:], pixels.shape)
        pixels_mhwc[position] = pixels
    assert pixels_mhwc is not None, "a leaf has at least one row"
    return pixels_mhwc


def _different_sizes(first: tuple[int, ...], other: tuple[int, ...]) -> UserError:
    sizes = f"{first[1]}x{first[0]} and {other[1]}x{other[0]}"
    problem = "images of one batch differ in size"
    fix = "begin with Resize or RandomResizedCrop"
    return UserError("InvalidSpec", refusal("spec.training.augmentation", sizes, problem, fix))
