"""Sums and hashes of images equal those of integers, and like images have like hashes."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from seedbed.images import pixel_measurement
from seedbed.images.image_decoder import decode
from seedbed.images.pixel_measurement import measure_pixels
from support.datasets.small_datasets import photo

SHAPES = [(1, 1), (1, 40), (7, 3), (8, 9), (9, 8), (31, 17), (64, 48), (120, 200)]


def an_image(height: int, width: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def hash_of_integers(pixels: np.ndarray) -> bytes:
    """Return the hash by the definition: each pixel is cut into 8 x 9 or 9 x 8 equal pieces, all in integers."""
    luma = pixels.astype(object) @ np.array([299, 587, 114], object)
    bits = []
    for rows, columns, axis in ((8, 9, 1), (9, 8, 0)):
        pieces = luma.repeat(rows, 0).repeat(columns, 1)
        height, width = luma.shape
        cells = pieces.reshape(rows, height, columns, width).sum(axis=(1, 3))
        ahead, behind = np.take(cells, range(1, 9), axis), np.take(cells, range(8), axis)
        bits.append((ahead - behind > 2 * 1000 * height * width).astype(bool))
    return np.packbits(np.stack(bits)).tobytes()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("strip", [30, 1 << 20])
def test_an_image_is_measured_exactly(
    shape: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_measurement, "_VALUES_AT_ONCE", strip)
    pixels = an_image(*shape)
    found = measure_pixels(pixels)
    whole = pixels.astype(object).reshape(-1, 3)
    assert (found.height, found.width) == shape
    assert found.sums == tuple(whole.sum(axis=0))
    assert found.squares == tuple((whole * whole).sum(axis=0))
    assert found.hash == hash_of_integers(pixels)


def test_sums_of_the_largest_image_stay_exact() -> None:
    """Bright pixels are the worst case; a strip of them is scaled up to the bound of decoders."""
    pixels = np.full((2, 4000, 3), 255, np.uint8)
    found = measure_pixels(pixels)
    assert found.sums == (8000 * 255,) * 3
    assert found.squares == (8000 * 255 * 255,) * 3


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def test_a_resized_and_recompressed_copy_is_near_and_another_image_is_far() -> None:
    original = Image.fromarray(decode(photo(5, width=200, height=160)))
    sink = io.BytesIO()
    original.resize((150, 120)).save(sink, "JPEG", quality=70)
    copy = measure_pixels(decode(sink.getvalue())).hash
    mine = measure_pixels(np.asarray(original)).hash
    others = [measure_pixels(decode(photo(seed, width=200, height=160))).hash for seed in range(6, 40)]
    assert distance(mine, copy) <= 3
    assert min(distance(mine, other) for other in others) > 20
