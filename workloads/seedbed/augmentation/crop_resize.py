"""Resize and random resized crop: a box of the image, resized by Pillow's 8-bit kernels."""

from __future__ import annotations

from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbed.augmentation.random_draws import ONE, Words, to_fixed_point, uniform_below, uniform_between

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, slots=True)
class Box:
    """A rectangle in whole pixels."""

    left: int
    top: int
    width: int
    height: int

    def on(self, scaled: tuple[int, int], *, original: tuple[int, int]) -> Box:
        """Map a box of an original (width, height) onto a scaled image, at least one pixel large."""
        left, width = _map(self.left, self.width, scaled[0], original[0])
        top, height = _map(self.top, self.height, scaled[1], original[1])
        return Box(left=left, top=top, width=width, height=height)


@dataclass(frozen=True, kw_only=True, slots=True)
class Resize:
    """Take the largest centred square and resize it."""

    size: int

    def box(self, width: int, height: int, words: Words) -> Box:  # noqa: ARG002
        """Return the largest centred square of a (width, height) image."""
        side = min(width, height)
        return Box(left=(width - side) // 2, top=(height - side) // 2, width=side, height=side)


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomResizedCrop:
    """Take a random box by area and aspect ratio and resize it to a square."""

    size: int
    scale: tuple[float, float] = (0.08, 1.0)
    """Least and largest share of the area."""
    ratio: tuple[float, float] = (0.75, 4 / 3)
    """Least and largest width / height."""

    def box(self, width: int, height: int, words: Words) -> Box:
        """Draw a box: area and place uniform, ratio uniform or mirrored (wide is as likely as tall).

        A box that does not fit is cut to the image.
        """
        share = uniform_between(words[0], to_fixed_point(self.scale[0]), to_fixed_point(self.scale[1]))
        low, high = to_fixed_point(self.ratio[0]), to_fixed_point(self.ratio[1])
        ratio = uniform_between(words[1], low, high)
        if words[2] >> 63:
            ratio = low * high // ratio
        area = width * height * share
        box_width = min(max(isqrt(area * ratio // (ONE * ONE)), 1), width)
        box_height = min(max(isqrt(area // ratio), 1), height)
        left = uniform_below(words[3], width - box_width + 1)
        top = uniform_below(words[4], height - box_height + 1)
        return Box(left=left, top=top, width=box_width, height=box_height)


def denominator_for(box: Box, size: int, choices: tuple[int, ...]) -> int:
    """Return the largest reduction after which the box still has `size` pixels each way, 1 if none."""
    fitting = (d for d in choices if box.width // d >= size and box.height // d >= size)
    return max(fitting, default=1)


def resize(pixels: Pixels, box: Box, size: int) -> Pixels:
    """Resize a box of an image to (size, size, 3), bilinear and antialiased."""
    part = np.ascontiguousarray(pixels[box.top : box.top + box.height, box.left : box.left + box.width])
    if part.shape[:2] == (size, size):
        return part
    image = Image.frombuffer("RGB", (box.width, box.height), part, "raw", "RGB", 0, 1)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def _map(start: int, length: int, scaled: int, original: int) -> tuple[int, int]:
    first = min(start * scaled // original, scaled - 1)
    end = min(max((start + length) * scaled // original, first + 1), scaled)
    return first, end - first
