"""Measure the pixels of an image exactly: sums per channel and a perceptual hash, both in integers.

The arithmetic is that of doubles on whole numbers below 2**53, which is exact in any order of additions: so
the results depend on neither BLAS nor CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from seedbed.images.image_decoder import MAX_PIXELS, Pixels

HASH_BITS: Final = 128
_GRID: Final = 8
_LUMA_3: Final = np.array([299.0, 587.0, 114.0])
"""Weights of red, green and blue in thousandths, as in ITU-R BT.601."""
_LEAST_DIFFERENCE: Final = 2
"""Of 255: by how much a cell is brighter than the one before."""
_VALUES_AT_ONCE: Final = 1 << 20
"""Channel values that are doubles at a time."""

assert 255 * 1000 * MAX_PIXELS < 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class PixelMeasurement:
    """What was measured of an image of H x W pixels."""

    height: int
    width: int
    sums: tuple[int, int, int]
    """Sum of the values 0 to 255 of red, green and blue."""
    squares: tuple[int, int, int]
    """Sum of their squares."""
    hash: bytes
    """16 bytes: the difference hash of rows, then that of columns."""


def measure_pixels(pixels_hw3: Pixels) -> PixelMeasurement:
    """Measure an RGB image, shape (H, W, 3).

    The hash is a difference hash (dHash): the luma of the image is averaged over 8 x 9 and 9 x 8 cells of
    equal area, cut through pixels where they do not divide the sides, and a bit says whether the next cell
    to the right, or below, is brighter by more than 2 of 255. Similar images differ in few bits; the least
    difference keeps noise in flat areas from deciding.
    """
    height, width, _ = pixels_hw3.shape
    sums, squares = np.zeros(3), np.zeros(3)
    rows = np.zeros((2 * _GRID + 1, 3 * width))
    weights = np.concatenate([_cell_weights(height, _GRID), _cell_weights(height, _GRID + 1)])
    step = max(1, _VALUES_AT_ONCE // (3 * width))
    for start in range(0, height, step):
        strip = pixels_hw3[start : start + step].astype(np.float64)
        flat = strip.reshape(-1, 3)
        sums += flat.sum(axis=0)
        squares += np.einsum("nc,nc->c", flat, flat)
        rows += weights[:, start : start + step] @ strip.reshape(len(strip), -1)
    luma = rows.reshape(-1, width, 3) @ _LUMA_3
    return PixelMeasurement(
        height=height,
        width=width,
        sums=_integers(sums),
        squares=_integers(squares),
        hash=_difference_hash(luma, height=height, width=width),
    )


def _difference_hash(luma: npt.NDArray[np.float64], *, height: int, width: int) -> bytes:
    across = luma[:_GRID] @ _cell_weights(width, _GRID + 1).T
    down = luma[_GRID:] @ _cell_weights(width, _GRID).T
    least = _LEAST_DIFFERENCE * _LUMA_3.sum() * height * width
    bits = [across[:, 1:] - across[:, :-1] > least, down[1:] - down[:-1] > least]
    return np.packbits(np.stack(bits)).tobytes()


@lru_cache(maxsize=64)
def _cell_weights(size: int, cells: int) -> npt.NDArray[np.float64]:
    """Return how much of each pixel of a side lies in each cell, in 1/cells pixels: shape (cells, size)."""
    starts = np.arange(size) * cells
    edges = np.arange(cells)[:, None] * size
    overlap = np.minimum(starts + cells, edges + size) - np.maximum(starts, edges)
    weights: npt.NDArray[np.float64] = np.maximum(overlap, 0).astype(np.float64)
    return weights


def _integers(values_3: npt.NDArray[np.float64]) -> tuple[int, int, int]:
    red, green, blue = (int(value) for value in values_3)
    return red, green, blue
