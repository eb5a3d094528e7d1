"""Which decoded images are worth caching, and the name of the file that holds them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from typing import Final

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.augmentation import RandomResizedCrop, Sizing
from seedbed.feed.decoded_cache import DecodedCache, Slot
from seedbed.feed.shard_index_cache import ImageLocation
from seedbed.images.image_decoder import decoder_versions

FORMAT: Final = 2

DECODED_SHARE: Final = 0.5
"""Share of a cache that decoded images may take; record batches have the rest. A run that caches no images
leaves to record batches all that the images of other runs do not take.
"""


def decoded_bytes(cache_bytes: int) -> int:
    """Return the bytes of a cache that decoded images may take."""
    return int(cache_bytes * DECODED_SHARE)


def is_random(sizing: Sizing | None) -> bool:
    """Return whether a sizing transform makes another image in every epoch."""
    return isinstance(sizing, RandomResizedCrop)


def worth_caching(sizing: Sizing | None, *, shared: bool, epochs: float) -> bool:
    """Return whether an image that was decoded will be asked for again.

    A run alone sees the same images in every epoch, unless the sizing is random; the runs of a sweep ask for
    each other's.
    """
    return shared or (not is_random(sizing) and epochs > 1)


class DecodedCachePolicy:
    """Which images of one sizing transform are cached, and where; safe to use from several threads."""

    def __init__(
        self, cache: DecodedCache, sizing: Sizing | None, *, seed: int, rows: int, shared: bool
    ) -> None:
        self.cache = cache
        self._random = is_random(sizing)
        self._shape = None if sizing is None else (sizing.size, sizing.size)
        self._recipe = _recipe(sizing, seed if self._random else None)
        self._rows, self._shared = rows, shared
        self._given_up = False

    def give_up(self) -> None:
        """Cache no further image: their shapes differ, so they have no slots of one size."""
        self._given_up = True

    def slot(
        self, location: ImageLocation, *, epoch: int, size: Callable[[], tuple[int, int]]
    ) -> Slot | None:
        """Return the slot of an image, or None where it is not cached; `size` gives its (width, height).

        Without a sizing transform, the shape of one image is taken for that of all.
        """
        if self._given_up:
            return None
        shape = self._shape
        if shape is None:
            width, height = size()
            self._shape = shape = (height, width)
        slot = Slot(
            file=self._file(location, epoch, shape),
            place=location.place,
            start=location.start,
            length=location.length,
            shape=shape,
            row_digest=location.digest,
        )
        # A run alone returns to an image after all others: what does not fit would be evicted by then.
        if not self.cache.fits(slot.stride * (1 if self._shared else self._rows)):
            self.give_up()
        return None if self._given_up else slot

    def _file(self, location: ImageLocation, epoch: int, shape: tuple[int, int]) -> str:
        """Name a file by all that decides about its images.

        A random box is drawn by the row's number, and the same batch may lie elsewhere in another dataset.
        """
        drawn = (epoch, location.row - location.place) if self._random else ()
        name = f"{self._recipe} {location.batch_sha256} {shape} {drawn}"
        return hashlib.sha256(name.encode()).hexdigest()


def _recipe(sizing: Sizing | None, seed: int | None) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "arithmetic": ARITHMETIC_VERSION,
            "decoders": decoder_versions(),
            "machine": platform.machine(),
            "head": repr(sizing),
            "seed": seed,
        },
        sort_keys=True,
    )
