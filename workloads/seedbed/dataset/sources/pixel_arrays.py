"""Pixels in arrays as images: each becomes a PNG, which has the same pixels and one encoding."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from seedbed.images.image_decoder import MAX_PIXELS

_COMPRESSION = 6
"""As for images that a build encodes anew."""
_CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def shape_problem(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> str | None:
    """Return why an array of one image is none: (height, width) or (height, width, 1, 3 or 4), uint8."""
    if dtype != np.uint8:
        return f"has values of type {dtype}, not uint8 from 0 to 255"
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] not in _CHANNELS):
        return f"has images of shape {shape}, not (height, width) or (height, width, 1, 3 or 4 channels)"
    if min(shape) < 1 or shape[0] * shape[1] > MAX_PIXELS:
        return f"has images of {shape[0]} x {shape[1]} pixels, not 1 to {MAX_PIXELS:,}"
    return None


def png_of(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return the PNG of an image of shape (height, width) or (height, width, channels)."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    sink = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(sink, "PNG", compress_level=_COMPRESSION)
    return sink.getvalue()
