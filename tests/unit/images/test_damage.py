"""Damaged files are refused, whatever a decoder would forgive; whole ones of common encoders stay as they are."""

from __future__ import annotations

import base64
import io
import random

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from seedbed.images.image_conversion import BadImage, StoredFormat, inspect, normalise
from seedbed.images.image_decoder import UndecodableImageError, decode, decode_reduced, picture_size
from support.datasets.encoded_images import (
    before_end,
    chunk,
    damaged,
    encoded,
    jpeg,
    palette_png,
    photo,
    place,
    scans,
    segment,
    with_exif_thumbnail,
    with_size,
    without_segments,
)

PLAIN = jpeg()
PROGRESSIVE = jpeg(progressive=True)
RESTARTS = jpeg(restart_marker_blocks=3)
THUMBNAIL = with_exif_thumbnail(PLAIN)
HALF = len(PLAIN) // 2
END = b"\xff\xd9"
PNG = encoded("PNG")

DEFLATED, JPEG_IN_TIFF = (
    encoded("TIFF", compression="tiff_adobe_deflate"),
    encoded("TIFF", compression="jpeg"),
)
STRIPS = encoded("TIFF", photo(width=400, height=300), compression="jpeg")

DAMAGED = {
    "the second half is missing": PLAIN[:HALF],
    "the second half is missing and an end marker put back": PLAIN[:HALF] + END,
    "the last eighth is missing and an end marker put back": PLAIN[: len(PLAIN) * 7 // 8] + END,
    "half of it behind an EXIF thumbnail with an end marker": THUMBNAIL[: len(THUMBNAIL) - HALF],
    "the same, ended by a tool": THUMBNAIL[: len(THUMBNAIL) - HALF] + END,
    "cut within the EXIF thumbnail": THUMBNAIL[:300],
    "cut right behind the EXIF thumbnail": THUMBNAIL[: THUMBNAIL.index(END) + 2],
    "a zeroed middle": PLAIN[:HALF] + bytes(512) + PLAIN[HALF + 512 :],
    "a zeroed end": PLAIN[: HALF + 200] + bytes(len(PLAIN) - HALF - 202) + END,
    "a middle of 0xFF": PLAIN[:HALF] + b"\xff" * 512 + PLAIN[HALF + 512 :],
    "bytes missing in the middle": PLAIN[:HALF] + PLAIN[HALF + 300 :],
    "a block of another file in the middle": PLAIN[:HALF] + PNG[600:1112] + PLAIN[HALF + 512 :],
    "transferred as text": PLAIN.replace(b"\n", b"\r\n"),
    "seven bits per byte": bytes(byte & 0x7F if at > 700 else byte for at, byte in enumerate(PLAIN)),
    "only the header": PLAIN[: place(PLAIN, 0xDA)] + END,
    "no coded pixels": PLAIN[: place(PLAIN, 0xDA) + 14] + END,
    "no quantisation tables": without_segments(PLAIN, 0xDB),
    "no frame": without_segments(PLAIN, 0xC0),
    "taller than its pixels": with_size(PLAIN, height=128, width=96),
    "lower than its pixels": with_size(PLAIN, height=32, width=96),
    "wider than its pixels": with_size(PLAIN, height=64, width=128),
    "a height of nothing": with_size(PLAIN, height=0, width=96),
    "a restart interval lost": RESTARTS[: place(RESTARTS, 0xD2)] + RESTARTS[place(RESTARTS, 0xD3) :],
    "bytes lost between restarts": RESTARTS[:HALF] + RESTARTS[HALF + 100 :],
    "half of a progressive one, ended by a tool": PROGRESSIVE[: len(PROGRESSIVE) // 2] + END,
    "two starts": PLAIN[:2] + PLAIN,
    "many stray bytes before the end": before_end(PLAIN, bytes(100)),
    "a sampling without pixels for it": PLAIN.replace(b"\x01\x22\x00\x02", b"\x01\x11\x00\x02"),
    "a PNG whose pixels have another checksum": PNG[:700] + bytes([PNG[700] ^ 1]) + PNG[701:],
    "a PNG with a wrong checksum alone": PNG[:-14] + bytes([PNG[-14] ^ 1]) + PNG[-13:],
    "a PNG that names its end in a text": PNG[:33] + chunk(b"tEXt", b"Comment\0IEND") + PNG[33:-12],
    "a PNG without pixels": PNG[: PNG.index(b"IDAT") - 4] + PNG[-12:],
    "a deflated TIFF with a zeroed piece": DEFLATED[:9000] + bytes(40) + DEFLATED[9040:],
    "a deflated TIFF with a flipped bit": DEFLATED[:9000] + bytes([DEFLATED[9000] ^ 4]) + DEFLATED[9001:],
    "a JPEG in a TIFF with a zeroed middle": JPEG_IN_TIFF[:1500] + bytes(600) + JPEG_IN_TIFF[2100:],
    "a strip of JPEG in a TIFF": STRIPS[: len(STRIPS) // 2] + bytes(300) + STRIPS[len(STRIPS) // 2 + 300 :],
    "a PNG of colours that its palette lacks": palette_png([0, 1, 5], colours=2),
}  # fmt: skip


@pytest.mark.parametrize("case", DAMAGED)
def test_damage_is_refused(case: str) -> None:
    data = DAMAGED[case]
    for judge in (inspect, normalise):
        for rules in (StoredFormat(), StoredFormat(image_size=32)):
            with pytest.raises(BadImage) as caught:
                judge(data, "a.jpg", rules)
            assert caught.value.reason in ("damaged", "truncated"), caught.value


@pytest.mark.parametrize("count", range(1, scans(PROGRESSIVE)))
def test_a_progressive_picture_that_lost_its_last_scans_is_refused(count: int) -> None:
    cut = PROGRESSIVE[: place(PROGRESSIVE, 0xDA, number=count)] + END
    assert decode(cut).shape == (64, 96, 3), "libjpeg says nothing"
    with pytest.raises(BadImage) as caught:
        inspect(cut, "a.jpg", StoredFormat())
    assert caught.value.reason == "truncated"


PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
EXIF = Image.Exif()
EXIF[0x010E] = "a description"
WHOLE = {
    f"subsampling {sampling}, quality {quality}": jpeg(subsampling=sampling, quality=quality)
    for sampling in (0, 1, 2)
    for quality in (1, 50, 75, 95, 100)
} | {
    "progressive": PROGRESSIVE,
    "progressive gray": encoded("JPEG", photo().convert("L"), progressive=True),
    "optimised tables": jpeg(optimize=True),
    "gray": encoded("JPEG", photo().convert("L")),
    "one pixel": encoded("JPEG", photo(width=1, height=1)),
    "odd sides": encoded("JPEG", photo(width=61, height=43)),
    "RGB components": jpeg(keep_rgb=True),
    "restarts in blocks": RESTARTS,
    "restarts in rows": jpeg(restart_marker_rows=1, progressive=True),
    "a profile of colours": jpeg(icc_profile=PROFILE),
    "EXIF": jpeg(exif=EXIF),
    "an EXIF thumbnail": THUMBNAIL,
    "a comment": jpeg(comment=b"\xff\xd9 no end \xff\xda no scan"),
    "XMP": jpeg(xmp=b"<x:xmpmeta>"),
    "two pictures one behind the other": PLAIN + PLAIN,
    "a video behind it": PLAIN + b"\0\0\0\x18ftypmp42" + bytes(1000),
    "fill bytes before markers": PLAIN[:2] + b"\xff\xff\xff" + PLAIN[2:-2] + b"\xff\xff\xff" + PLAIN[-2:],
    "no Huffman tables, as in MJPEG": without_segments(PLAIN, 0xC4),
    "lossless": base64.b64decode(
        "/9j/7gAOQWRvYmUAZAAAAAAA/8MAEQgACAAIA1IRAEcRAEIRAP/EABYAAQEBAAAAAAAAAAAAAAAAAAQIB//aAAwDUgBHAEIAAQAA"
        "n/BMJe973ve973ve973ve9+8bxvD3ve973ve973ve973v3jeN4hOE4Te973ve973ve973vnyfJ8e973ve973ve973ve9+8bxvD3w"
        "nCcJve973ve973ve98+T5Pj3ve973ve973ve973v3jeN4e974ThOE3ve973ve973vnyfJ8e973ve973ve973ve9//9k="
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_whole_pictures_of_common_encoders_are_stored_as_they_are(case: str) -> None:
    judged = normalise(WHOLE[case], "a.jpg", StoredFormat())
    assert judged.image == WHOLE[case]
    assert not judged.notes
    seen = np.asarray(Image.open(io.BytesIO(WHOLE[case])).convert("RGB"))
    assert np.array_equal(decode(judged.image), seen)


TIFFS = {
    f"{compression}, {mode}": encoded("TIFF", photo(width=150, height=333).convert(mode), compression=compression, **options)
    for compression, options in (("raw", {}), ("tiff_lzw", {}), ("tiff_deflate", {}), ("packbits", {}), ("jpeg", {"quality": 95}))
    for mode in ("RGB", "L")
}  # fmt: skip


@pytest.mark.parametrize("case", TIFFS)
def test_whole_tiffs_of_any_coding_keep_their_pixels(case: str) -> None:
    judged = normalise(TIFFS[case], "a.tif", StoredFormat())
    assert judged.notes == ("from-tiff",)
    assert judged.image is not None
    seen = np.asarray(Image.open(io.BytesIO(TIFFS[case])).convert("RGB"))
    assert np.array_equal(decode(judged.image), seen)


STRAY = {
    "one": b"\0",
    "a word": bytes(4),
    "more than the decoder reads ahead": bytes(12),
    "of any kind": b"padding!!",
    "a line feed of a transfer": b"\r\n",
}


@pytest.mark.parametrize("case", STRAY)
@pytest.mark.parametrize(
    "options", [{}, {"subsampling": 0}, {"progressive": True}], ids=["420", "444", "progressive"]
)
def test_a_few_stray_bytes_before_the_end_are_a_note(case: str, options: dict[str, object]) -> None:
    data = jpeg(**options)
    judged = normalise(before_end(data, STRAY[case]), "a.jpg", StoredFormat())
    assert judged.image is not None
    assert np.array_equal(decode(judged.image), decode(data))
    assert set(judged.notes) <= {"stray-bytes-dropped"}
    assert inspect(before_end(data, STRAY[case]), "a.jpg", StoredFormat()) == judged


def test_stray_bytes_between_segments_are_a_note() -> None:
    at = place(PLAIN, 0xC0)
    judged = normalise(PLAIN[:at] + b"\0\0\0" + PLAIN[at:], "a.jpg", StoredFormat())
    assert (judged.image, judged.notes) == (PLAIN, ("stray-bytes-dropped",))


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("12 bits", PLAIN.replace(b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"), "more-than-8-bit"),
        ("rare sampling", PLAIN.replace(b"\x01\x22\x00\x02", b"\x01\x31\x00\x02"), "unsupported-format"),
        ("four inks", encoded("JPEG", photo().convert("CMYK")), "cmyk"),
    ],
)
def test_what_training_could_not_read_is_refused_by_name(name: str, data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        inspect(data, "a.jpg", StoredFormat())
    assert caught.value.reason == reason, name


FORGIVEN = {
    name: data for name, data in DAMAGED.items() if data.startswith(b"\xff\xd8\xff") and END in data[-2:]
}


@pytest.mark.parametrize("case", FORGIVEN)
def test_training_gives_no_damaged_jpeg_to_another_decoder(case: str) -> None:
    """Pillow would decode most of these, and fill in what is missing."""
    with pytest.raises(UndecodableImageError):
        decode(FORGIVEN[case])
    with pytest.raises(UndecodableImageError):
        decode_reduced(FORGIVEN[case], 8)


def test_a_header_that_the_decoder_does_not_know_has_no_size() -> None:
    with pytest.raises(UndecodableImageError, match="subsampling"):
        picture_size(PLAIN.replace(b"\x01\x22\x00\x02", b"\x01\x31\x00\x02"))


def strictly(data: bytes) -> np.ndarray | None:
    try:
        return simplejpeg.decode_jpeg(data, "RGB", strict=True)
    except (ValueError, KeyError):
        return None


BASES = [PLAIN, PROGRESSIVE, RESTARTS, THUMBNAIL, jpeg(subsampling=0), jpeg(quality=30, optimize=True)]


@settings(deadline=None, max_examples=300)
@given(base=st.sampled_from(BASES), seed=st.integers(0, 2**32))
def test_no_damage_makes_pixels_that_libjpeg_would_warn_about(base: bytes, seed: int) -> None:
    """What libjpeg decodes without a warning is the file's own; without its stray bytes the rest is too."""
    data = damaged(base, random.Random(seed))
    try:
        judged = normalise(data, "a.jpg", StoredFormat())
    except BadImage:
        return
    assert judged.image is not None
    stored, expected = decode(judged.image), strictly(data)
    if expected is None:
        assert {"stray-bytes-dropped", "metadata-dropped"} & set(judged.notes)
        expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(stored, expected)


def test_a_segment_that_reaches_behind_the_file_is_truncated() -> None:
    with pytest.raises(BadImage, match="truncated"):
        inspect(PLAIN[:2] + segment(0xE5, b"x")[:2] + b"\xff\xf0" + PLAIN[2:], "a.jpg", StoredFormat())
