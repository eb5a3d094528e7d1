"""The pipeline of transforms: applied in their written order to one image, from pixels or from its file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seedbed.augmentation.color_jitter import ColorJitter
from seedbed.augmentation.crop_resize import RandomResizedCrop, Resize, denominator_for, resize
from seedbed.augmentation.flip import HorizontalFlip, VerticalFlip
from seedbed.augmentation.random_draws import WORDS, Words, random_words
from seedbed.augmentation.rotation import Rotation
from seedbed.images.image_decoder import DENOMINATORS, Octets, decode_reduced, picture_size

Pixels = npt.NDArray[np.uint8]
Sizing = Resize | RandomResizedCrop
Transform = Resize | RandomResizedCrop | HorizontalFlip | VerticalFlip | Rotation | ColorJitter


def apply(transforms: Sequence[Transform], pixels: Pixels, *, seed: int, epoch: int, row: int) -> Pixels:
    """Apply transforms to RGB pixels of shape (H, W, 3); the result may be a view of the argument."""
    drawn = random_words(WORDS * len(transforms), seed=seed, epoch=epoch, row=row)
    return _apply_from(0, transforms, pixels, drawn)


def render(transforms: Sequence[Transform], data: Octets, *, seed: int, epoch: int, row: int) -> Pixels:
    """Decode an image file and apply transforms, shape (H, W, 3); what the feeds deliver.

    Where the first transform fixes the size, its box is drawn on the original dimensions and a JPEG is
    decoded at the largest reduction that leaves the box as large as its result. The result may lie in the
    calling thread's decoding buffer: copy it before the next call. Raises UndecodableImageError.
    """
    drawn = random_words(WORDS * len(transforms), seed=seed, epoch=epoch, row=row)
    first = sizing_head(transforms)
    return _apply_from(0 if first is None else 1, transforms, _head(first, data, drawn), drawn)


def sizing_head(transforms: Sequence[Transform]) -> Sizing | None:
    """Return the first transform where it fixes the size: it is made together with the decoding."""
    first = transforms[0] if transforms else None
    return first if isinstance(first, Sizing) else None


def render_head(first: Sizing | None, data: Octets, *, seed: int, epoch: int, row: int) -> Pixels:
    """Decode an image file as `render` does, up to and with the transform that is made together with it.

    The result may lie in the calling thread's decoding buffer. Raises UndecodableImageError.
    """
    return _head(first, data, random_words(WORDS, seed=seed, epoch=epoch, row=row))


def render_rest(
    transforms: Sequence[Transform], pixels: Pixels, *, seed: int, epoch: int, row: int
) -> Pixels:
    """Apply what `render` applies after the head; the argument is left as it is, the result may be a view."""
    first = 0 if sizing_head(transforms) is None else 1
    if first == len(transforms):
        return pixels
    drawn = random_words(WORDS * len(transforms), seed=seed, epoch=epoch, row=row)
    return _apply_from(first, transforms, pixels, drawn)


def for_evaluation(transforms: Sequence[Transform]) -> tuple[Transform, ...]:
    """Return what evaluation applies: a plain resize to the size that training ends with, or nothing."""
    size = output_size(transforms)
    return () if size is None else (Resize(size=size),)


def output_size(transforms: Sequence[Transform]) -> int | None:
    """Return the side of the square that every image becomes, or None where images are not resized."""
    sizes = [transform.size for transform in transforms if isinstance(transform, Sizing)]
    return sizes[-1] if sizes else None


def _apply_from(first: int, transforms: Sequence[Transform], pixels: Pixels, drawn: Words) -> Pixels:
    for position in range(first, len(transforms)):
        own = drawn[position * WORDS : (position + 1) * WORDS]
        pixels = _apply_one(transforms[position], pixels, own)
    return pixels


def _apply_one(transform: Transform, pixels: Pixels, own: Words) -> Pixels:
    if isinstance(transform, Sizing):
        height, width, _ = pixels.shape
        return resize(pixels, transform.box(width, height, own), transform.size)
    return transform.apply(pixels, own)


def _head(first: Sizing | None, data: Octets, drawn: Words) -> Pixels:
    return decode_reduced(data, 1) if first is None else _decode_box(first, data, drawn)


def _decode_box(transform: Sizing, data: Octets, drawn: Words) -> Pixels:
    original = picture_size(data)
    box = transform.box(*original, drawn[:WORDS])
    pixels = decode_reduced(data, denominator_for(box, transform.size, DENOMINATORS))
    height, width, _ = pixels.shape
    return resize(pixels, box.on((width, height), original=original), transform.size)
