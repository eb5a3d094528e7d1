"""Images as the network sees them: decoded, or read from the cache of decoded images, then augmented."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from functools import partial

from seedbed.augmentation import Sizing, Transform, render_head, render_rest, sizing_head
from seedbed.dataset import Dataset
from seedbed.feed.batch_reader import BatchReader, damaged_shard, read_image
from seedbed.feed.decoded_cache import DecodedCache, Pixels
from seedbed.feed.decoded_cache_policy import DecodedCachePolicy
from seedbed.feed.io_counters import IO_COUNTERS
from seedbed.feed.shard_index_cache import ImageLocation
from seedbed.images.image_decoder import UndecodableImageError, picture_size


class ImageRenderer:
    """Renders the images of one dataset and seed; safe to use from several threads."""

    def __init__(
        self, dataset: Dataset, batches: BatchReader, *, cache: DecodedCache | None, seed: int, shared: bool
    ) -> None:
        self._dataset = dataset
        self._batches = batches
        self._cache = cache
        self._seed = seed
        self._shared = shared
        self._policies: dict[Sizing | None, DecodedCachePolicy] = {}
        self._lock = threading.Lock()

    def render(
        self, location: ImageLocation, transforms: Sequence[Transform], *, epoch: int, wait: bool
    ) -> Pixels | None:
        """Return an image, shape (H, W, 3); None where another reader is decoding it, unless `wait`.

        The result may lie in a buffer of the calling thread and be overwritten by its next call.
        """
        pixels = self._sized(location, sizing_head(transforms), epoch=epoch, wait=wait)
        if pixels is None:
            return None
        return render_rest(transforms, pixels, seed=self._seed, epoch=epoch, row=location.row)

    def _sized(
        self, location: ImageLocation, sizing: Sizing | None, *, epoch: int, wait: bool
    ) -> Pixels | None:
        """Return what decoding and the sizing transform make of an image, from the cache if it is there."""
        decode = partial(self._decode, location, sizing, epoch)
        policy = self._policy(sizing)
        if policy is None:
            return decode()
        slot = policy.slot(location, epoch=epoch, size=partial(self._size, location))
        if slot is None:
            return decode()
        pixels = policy.cache.get_or_decode(slot, decode, wait=wait)
        if pixels is not None and pixels.shape[:2] != slot.shape:
            policy.give_up()
        return pixels

    def _policy(self, sizing: Sizing | None) -> DecodedCachePolicy | None:
        if self._cache is None:
            return None
        with self._lock:
            if sizing not in self._policies:
                self._policies[sizing] = DecodedCachePolicy(
                    self._cache,
                    sizing,
                    seed=self._seed,
                    rows=self._dataset.manifest.total,
                    shared=self._shared,
                )
            return self._policies[sizing]

    def _decode(self, location: ImageLocation, sizing: Sizing | None, epoch: int) -> Pixels:
        data = self._read(location)
        with self._decoder_errors(location):
            pixels = render_head(sizing, data, seed=self._seed, epoch=epoch, row=location.row)
        IO_COUNTERS.decode()
        return pixels

    def _size(self, location: ImageLocation) -> tuple[int, int]:
        data = self._read(location)
        with self._decoder_errors(location):
            return picture_size(data)

    def _read(self, location: ImageLocation) -> bytes:
        return read_image(self._dataset, self._batches, location)

    @contextlib.contextmanager
    def _decoder_errors(self, location: ImageLocation) -> Iterator[None]:
        try:
            yield
        except UndecodableImageError as error:
            problem = f"row {location.row} cannot be decoded ({error})"
            raise damaged_shard(self._dataset, location.shard, problem) from error
