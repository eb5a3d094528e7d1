"""Rotation about the centre by a fixed-point gather. Shapes: H W C of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seedbed.augmentation.integer_trigonometry import sine_cosine
from seedbed.augmentation.random_draws import Words, to_fixed_point, uniform_between

Pixels = npt.NDArray[np.uint8]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rotation:
    """Rotate by an angle uniform in [-degrees, degrees]; pixels from outside the image are black."""

    degrees: float

    def apply(self, pixels: Pixels, words: Words) -> Pixels:
        """Return the rotated image, bilinear with weights in 1/256."""
        bound = to_fixed_point(self.degrees)
        sine, cosine = sine_cosine(uniform_between(words[0], -bound, bound))
        height, width, _ = pixels.shape
        down = 2 * np.arange(height, dtype=np.int64)[:, None] - (height - 1)
        right = 2 * np.arange(width, dtype=np.int64)[None, :] - (width - 1)
        x_hw = (((width - 1) << 16) + cosine * right - sine * down) >> 9
        y_hw = (((height - 1) << 16) + sine * right + cosine * down) >> 9
        return _gather(pixels, x_hw, y_hw)


def _gather(pixels: Pixels, x_hw: Indices, y_hw: Indices) -> Pixels:
    """Sample at Q8 coordinates; a black border one pixel wide represents everything outside."""
    height, width, channels = pixels.shape
    padded = np.zeros((height + 3, width + 3, channels), np.int32)
    padded[1:-2, 1:-2] = pixels
    flat = padded.reshape(-1, channels)
    x_hw = np.clip(x_hw, -256, width << 8)
    y_hw = np.clip(y_hw, -256, height << 8)
    corner = ((y_hw >> 8) + 1) * (width + 3) + (x_hw >> 8) + 1
    x_weight = (x_hw & 255).astype(np.int32)[..., None]
    y_weight = (y_hw & 255).astype(np.int32)[..., None]
    above = flat[corner] * (256 - x_weight) + flat[corner + 1] * x_weight
    below = flat[corner + width + 3] * (256 - x_weight) + flat[corner + width + 4] * x_weight
    mixed: Pixels = ((above * (256 - y_weight) + below * y_weight + (1 << 15)) >> 16).astype(np.uint8)
    return mixed
