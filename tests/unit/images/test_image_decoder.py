from __future__ import annotations

import io
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from seedbed.images.image_decoder import (
    UndecodableImageError,
    decode,
    decode_reduced,
    decoder_versions,
    picture_size,
)
from support.datasets.small_datasets import photo


def encoded(form: str, mode: str = "RGB", size: tuple[int, int] = (21, 13), **options) -> bytes:
    gradient = np.arange(size[0] * size[1] * 3, dtype=np.uint32).reshape(size[1], size[0], 3) % 251
    image = Image.fromarray(gradient.astype(np.uint8)).convert(mode)
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return sink.getvalue()


FILES = {
    "JPEG": encoded("JPEG"),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "grey JPEG": encoded("JPEG", "L"),
    "CMYK JPEG": encoded("JPEG", "CMYK"),
    "JPEG with rubbish behind it": encoded("JPEG") + b"rubbish",
    "PNG": encoded("PNG"),
    "palette PNG": encoded("PNG", "P"),
    "PNG with alpha": encoded("PNG", "RGBA"),
}
OTHER_FORMATS = {
    name: encoded(name)
    for name in ("WEBP", "BMP", "TIFF", "GIF", "ICO", "EPS", "PDF", "PPM", "TGA", "JPEG2000")
}
"""What shards never hold; some are opened by other programs."""


def png_of(width: int, height: int) -> bytes:
    """Return a small PNG whose header states another size."""
    data = bytearray(FILES["PNG"])
    data[16:24] = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")
    return bytes(data)


def jpeg_of(width: int, height: int) -> bytes:
    data = FILES["JPEG"]
    frame = data.index(b"\xff\xc0") + 5
    return data[:frame] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[frame + 4 :]


@pytest.mark.parametrize("name", FILES)
def test_every_format_becomes_rgb(name):
    pixels = decode(FILES[name])
    assert pixels.dtype == np.uint8
    assert pixels.shape == (13, 21, 3)
    assert pixels.flags.c_contiguous
    assert picture_size(FILES[name]) == (21, 13)
    assert np.array_equal(pixels, decode(memoryview(FILES[name])))


@pytest.mark.parametrize("name", OTHER_FORMATS)
@pytest.mark.parametrize("reads", [decode, picture_size])
def test_formats_that_shards_never_hold_are_not_opened(reads, name):
    with pytest.raises(UndecodableImageError, match=r"^it is neither a JPEG nor a PNG image$"):
        reads(OTHER_FORMATS[name])


@pytest.mark.parametrize("reads", [decode, lambda data: decode_reduced(data, 8), picture_size])
@pytest.mark.parametrize(
    "data", [png_of(65535, 65535), png_of(2**30, 1), jpeg_of(65500, 65500), jpeg_of(8945, 8945)]
)
def test_a_header_of_too_many_pixels_is_refused_before_memory_is_taken(reads, data):
    tracemalloc.start()
    with pytest.raises(UndecodableImageError, match=r"pixels, more than 80000000$|decompression bomb"):
        reads(data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**21


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff\xd8\xff", FILES["JPEG"][:200], FILES["PNG"][:60], b"GIF89a"],
    ids=["nothing", "three bytes", "truncated JPEG", "truncated PNG", "a header alone"],
)
def test_what_cannot_be_decoded_in_full_is_refused(data):
    with pytest.raises(UndecodableImageError) as caught:
        decode(data)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("denominator", "size"), [(1, (90, 161)), (2, (45, 81)), (4, (23, 41)), (8, (12, 21))]
)
def test_reductions_round_sides_up_and_keep_the_picture(denominator, size):
    data = photo(3, width=161, height=90)
    reduced = decode_reduced(data, denominator).copy()
    assert reduced.shape == (*size, 3)
    shrunk = Image.fromarray(decode(data)).resize((size[1], size[0]), Image.Resampling.BOX)
    assert np.abs(reduced.astype(int) - np.asarray(shrunk)).mean() < 15  # another picture is at 80


def test_a_result_in_own_memory_survives_the_next_call():
    first = decode(photo(1))
    copy = first.copy()
    decode(photo(2))
    assert np.array_equal(first, copy)


def test_versions_name_every_decoder():
    assert {"pillow", "simplejpeg", "pillow.jpg", "pillow.zlib"} <= set(decoder_versions())


def test_a_flipped_bit_in_the_picture_changes_the_pixels():
    image = Image.fromarray(decode(FILES["PNG"]))
    image.putpixel((3, 4), tuple(value ^ 1 for value in image.getpixel((3, 4))))
    sink = io.BytesIO()
    image.save(sink, "PNG")
    assert not np.array_equal(decode(sink.getvalue()), decode(FILES["PNG"]))
