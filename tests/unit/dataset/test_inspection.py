"""What a source file may be: every written rule, on real files made here."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from seedbed.images.image_conversion import BadImage, StoredFormat, inspect, normalise
from support.datasets.image_files import encoded, jpeg, pixels, png, png_16_bit_rgb

RGB = Image.fromarray(pixels(1))
GRAY = Image.fromarray(pixels(1, channels=1))
WITH_ALPHA = Image.fromarray(pixels(1, channels=4))
OPAQUE = RGB.convert("RGBA")


def rotated(kind: str) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(RGB, kind, exif=exif)


def bomb() -> bytes:
    return encoded(Image.new("1", (10_000, 10_000)))


REFUSED = {
    "zero bytes": ("a.png", b"", "empty-file"),
    "text": ("a.png", b"hello", "not-an-image"),
    "noise": ("a.jpg", pixels(3).tobytes(), "not-an-image"),
    "a GIF": ("a.gif", encoded(RGB, "GIF"), "unsupported-format"),
    "half a PNG": ("a.png", png(1, height=40, width=40)[:2000], "truncated"),
    "a PNG without its end": ("a.png", png(1)[:-12], "truncated"),
    "a PNG with a flipped bit": ("a.png", png(1)[:60] + b"\xff" + png(1)[61:], "damaged"),
    "half a JPEG": ("a.jpg", jpeg(1)[: len(jpeg(1)) // 2], "truncated"),
    "a JPEG without its end marker": ("a.jpg", jpeg(1)[:-2], "truncated"),
    "half a WebP": ("a.webp", encoded(RGB, "WEBP", lossless=True)[:60], "damaged"),
    "half a BMP": ("a.bmp", encoded(RGB, "BMP")[:100], "truncated"),
    "half a TIFF": ("a.tif", encoded(RGB, "TIFF")[:100], "damaged"),
    "a CMYK JPEG": ("a.jpg", encoded(RGB.convert("CMYK"), "JPEG"), "cmyk"),
    "a CMYK TIFF": ("a.tif", encoded(RGB.convert("CMYK"), "TIFF"), "cmyk"),
    "a 16-bit gray PNG": ("a.png", encoded(Image.fromarray(pixels(1, channels=1).astype(np.uint16))), "more-than-8-bit"),
    "a 16-bit RGB PNG": ("a.png", png_16_bit_rgb(), "more-than-8-bit"),
    "a 16-bit TIFF": ("a.tif", encoded(Image.fromarray(pixels(1, channels=1).astype(np.uint16)), "TIFF"), "more-than-8-bit"),
    "a float TIFF": ("a.tif", encoded(Image.fromarray(pixels(1, channels=1).astype(np.float32)), "TIFF"), "more-than-8-bit"),
    "a LAB TIFF": ("a.tif", encoded(Image.new("LAB", (4, 4)), "TIFF"), "colour-space"),
    "transparent pixels": ("a.png", encoded(WITH_ALPHA), "alpha"),
    "a transparent palette colour": ("a.png", encoded(RGB.quantize(4), transparency=0), "alpha"),
    "transparent gray": ("a.png", encoded(WITH_ALPHA.convert("LA")), "alpha"),
    "an animated PNG": ("a.png", encoded(RGB, save_all=True, append_images=[WITH_ALPHA.convert("RGB").rotate(90)]), "animated"),
    "an animated WebP": ("a.webp", encoded(RGB, "WEBP", save_all=True, append_images=[RGB.rotate(180)]), "animated"),
    "a TIFF of two pages": ("a.tif", encoded(RGB, "TIFF", save_all=True, append_images=[RGB.rotate(180)]), "animated"),
    "a decompression bomb": ("a.png", bomb(), "decompression-bomb"),
}  # fmt: skip

KEPT = {
    "an RGB PNG": ("a.png", png(1), ()),
    "a gray PNG": ("a.png", encoded(GRAY), ()),
    "an RGB JPEG": ("a.JPG", jpeg(1), ()),
    "a gray JPEG": ("a.jpeg", encoded(GRAY, "JPEG"), ()),
    "a progressive JPEG": ("a.jpg", jpeg(1, progressive=True), ()),
    "a JPEG with bytes behind it": ("a.jpg", jpeg(1) + b"\0\0trailer", ()),
    "a JPEG called PNG": ("a.png", jpeg(1), ("wrong-suffix",)),
    "a PNG called TXT": ("a.txt", png(1), ("wrong-suffix",)),
    "no suffix": ("IMG_1", png(1), ("no-suffix",)),
    "an odd name": ("ä b\n#?*[x].png", png(1), ()),
}

ENCODED_ANEW = {
    "a BMP": ("a.bmp", encoded(RGB, "BMP"), RGB, ("from-bmp",)),
    "a lossless WebP": ("a.webp", encoded(RGB, "WEBP", lossless=True), RGB, ("from-webp",)),
    "a TIFF": ("a.tif", encoded(RGB, "TIFF"), RGB, ("from-tiff",)),
    "opaque alpha": ("a.png", encoded(OPAQUE), RGB, ("opaque-alpha-dropped",)),
    "opaque gray alpha": ("a.png", encoded(GRAY.convert("LA")), GRAY, ("opaque-alpha-dropped",)),
    "a palette": ("a.png", encoded(RGB.quantize(8)), RGB.quantize(8).convert("RGB"), ("palette-expanded",)),
    "two levels": ("a.png", encoded(GRAY.convert("1")), GRAY.convert("1").convert("L"), ("bilevel-expanded",)),
    "a PNG turned by EXIF": ("a.png", rotated("PNG"), RGB.transpose(Image.Transpose.ROTATE_270), ("rotated-by-exif",)),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    path, data, reason = REFUSED[case]
    for judge in (inspect, normalise):
        with pytest.raises(BadImage) as caught:
            judge(data, path, StoredFormat())
        assert caught.value.reason == reason, caught.value
        assert "\n" not in caught.value.detail


@pytest.mark.parametrize("case", KEPT)
def test_kept_byte_for_byte(case: str) -> None:
    path, data, notes = KEPT[case]
    judged = normalise(data, path, StoredFormat())
    assert (judged.image, judged.notes) == (data, notes)
    assert inspect(data, path, StoredFormat()).weight == len(data)


@pytest.mark.parametrize("case", ENCODED_ANEW)
def test_encoded_anew_without_loss(case: str) -> None:
    path, data, expected, notes = ENCODED_ANEW[case]
    judged = normalise(data, path, StoredFormat())
    assert judged.notes == notes
    assert judged.image is not None
    stored = Image.open(io.BytesIO(judged.image))
    assert stored.format == "PNG"
    assert stored.mode == expected.mode
    assert np.array_equal(np.asarray(stored), np.asarray(expected))


def test_a_jpeg_turned_by_exif_is_stored_upright_and_without_orientation() -> None:
    judged = normalise(rotated("JPEG"), "a.jpg", StoredFormat())
    assert judged.image is not None
    stored = Image.open(io.BytesIO(judged.image))
    assert (stored.format, stored.size) == ("PNG", (6, 8))
    assert not stored.getexif()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((8, 6), (5, 4)), ((6, 8), (4, 5)), ((8, 8), (4, 4)), ((2, 3), (4, 6)), ((1, 9), (4, 36))],
)
def test_the_shorter_side_is_resized(size: tuple[int, int], expected: tuple[int, int]) -> None:
    data = png(1, width=size[0], height=size[1])
    for encoding, container in (("source", "PNG"), ("jpeg", "JPEG")):
        judged = normalise(data, "a.png", StoredFormat(image_size=4, encoding=encoding))
        assert judged.image is not None
        stored = Image.open(io.BytesIO(judged.image))
        assert (stored.size, stored.format) == (expected, container)


def test_a_thread_of_pixels_does_not_grow_without_bound() -> None:
    with pytest.raises(BadImage) as caught:
        inspect(png(1, width=1, height=5_000), "a.png", StoredFormat(image_size=512))
    assert caught.value.reason == "aspect-ratio"


@settings(deadline=None, max_examples=60)
@given(
    data=st.sampled_from([png(1), jpeg(2), encoded(RGB, "BMP"), encoded(RGB, "WEBP")]),
    cut=st.integers(1, 200),
)
def test_a_file_cut_anywhere_is_refused_or_whole(data: bytes, cut: int) -> None:
    """No cut may change the pixels silently."""
    short = data[: max(0, len(data) - cut)]
    try:
        judged = normalise(short, "a.png", StoredFormat())
    except BadImage:
        return
    whole = normalise(data, "a.png", StoredFormat())
    assert judged.image is not None
    assert whole.image is not None
    seen = [np.asarray(Image.open(io.BytesIO(image))) for image in (judged.image, whole.image)]
    assert np.array_equal(*seen)
