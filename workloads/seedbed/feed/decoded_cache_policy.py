"""Which pictures of a stream are kept for others, and under which names."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from seedbed.arithmetic.arithmetic_config import ARITHMETIC_VERSION
from seedbed.augmentation import RandomResizedCrop, Sizing
from seedbed.feed.decoded_cache import Decode, DecodedCache, Pixels, Slot
from seedbed.images.image_decoder import decoder_versions

FORMAT: Final = 1

DECODED_SHARE: Final = 0.5
"""Of the bytes of a cache, what decoded pictures may take; record batches have the rest. A run that keeps
no pictures leaves record batches all that the pictures of others do not take.
"""


def decoded_bytes(cache_bytes: int) -> int:
    """Return the bytes that decoded pictures may take of a cache."""
    return int(cache_bytes * DECODED_SHARE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """Where the bytes of a picture lie."""

    batch: str
    """sha256 of the record batch, in hex."""
    place: int
    """Row within the batch."""
    row: int
    """Row within the dataset."""
    start: int
    length: int


def is_random(head: Sizing | None) -> bool:
    """Say whether a head makes another picture in every epoch."""
    return isinstance(head, RandomResizedCrop)


def worth_keeping(head: Sizing | None, *, shared: bool, epochs: float) -> bool:
    """Say whether a picture that was decoded will be asked for again.

    A run alone sees the same pictures in every epoch, unless its head is random; the runs of a sweep ask for
    each other's.
    """
    return shared or (not is_random(head) and epochs > 1)


class Shelf:
    """The pictures that one head makes in one stream; safe to use from several threads."""

    def __init__(
        self, cache: DecodedCache, head: Sizing | None, *, seed: int, rows: int, shared: bool
    ) -> None:
        self._cache = cache
        self._random = is_random(head)
        self._shape = None if head is None else (head.size, head.size)
        self._recipe = _recipe(head, seed if self._random else None)
        self._rows, self._shared = rows, shared
        self._given_up = False

    def slot(self, origin: Origin, *, epoch: int, size: Callable[[], tuple[int, int]]) -> Slot | None:
        """Return the slot of a picture, or None where it is not kept; `size` gives (width, height) of it.

        Without a head that fixes it, the shape of one picture is that of all.
        """
        if self._given_up:
            return None
        shape = self._shape
        if shape is None:
            width, height = size()
            self._shape = shape = (height, width)
        slot = Slot(
            file=self._file(origin, epoch, shape),
            place=origin.place,
            start=origin.start,
            length=origin.length,
            shape=shape,
        )
        # a run alone comes back to a picture after all others: what does not fit would be gone by then
        if not self._cache.fits(slot.stride * (1 if self._shared else self._rows)):
            self._given_up = True
        return None if self._given_up else slot

    def get_or_decode(self, slot: Slot, decode: Decode, *, wait: bool) -> Pixels | None:
        """Return a picture as `DecodedCache.get_or_decode` does; give up where pictures differ in shape."""
        pixels = self._cache.get_or_decode(slot, decode, wait=wait)
        if pixels is not None and pixels.shape[:2] != slot.shape:
            self._given_up = True
        return pixels

    def _file(self, origin: Origin, epoch: int, shape: tuple[int, int]) -> str:
        """Name a file by all that decides about its pictures.

        A random box is drawn by the row's number, and the same batch may lie elsewhere in another dataset.
        """
        drawn = (epoch, origin.row - origin.place) if self._random else ()
        return hashlib.sha256(f"{self._recipe} {origin.batch} {shape} {drawn}".encode()).hexdigest()


def _recipe(head: Sizing | None, seed: int | None) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "arithmetic": ARITHMETIC_VERSION,
            "decoders": decoder_versions(),
            "machine": platform.machine(),
            "head": repr(head),
            "seed": seed,
        },
        sort_keys=True,
    )
