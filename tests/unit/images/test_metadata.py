"""Metadata alone condemns no picture: whatever stands in it, the pixels are stored, and training reads them."""

from __future__ import annotations

import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from seedbed.images.image_conversion import BadImage, StoredFormat, inspect, normalise
from seedbed.images.image_decoder import decode
from support.datasets.encoded_images import (
    behind_soi,
    chunk,
    encoded,
    jpeg,
    segment,
    with_chunk,
    with_exif_thumbnail,
)

PNG = encoded("PNG")
PLAIN = jpeg()
WEBP = encoded("WEBP", lossless=True)
TIFF = encoded("TIFF")
GARBAGE = random.Random(5).randbytes(700)
MUCH = random.Random(6).randbytes(2_000_000)
BOMB = zlib.compress(bytes(5_000_000))
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TURNED = Image.Exif()
TURNED[0x0112] = 6


def with_bad_checksum(part: bytes) -> bytes:
    return part[:-1] + bytes([part[-1] ^ 1])


def jfif(version: int) -> bytes:
    at = PLAIN.index(b"JFIF\0") + 5
    return PLAIN[:at] + version.to_bytes(2, "big") + PLAIN[at + 2 :]


def webp(name: bytes, payload: bytes) -> bytes:
    """A lossless WebP with one more chunk; `VP8X` says that it is there."""
    flag = {b"EXIF": 0x08, b"XMP ": 0x04, b"ICCP": 0x20}[name]
    size = struct.pack("<I", 95)[:3] + struct.pack("<I", 63)[:3]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes([flag, 0, 0, 0]) + size
    extra = name + struct.pack("<I", len(payload)) + payload + bytes(len(payload) % 2)
    pixels = WEBP[12:]
    body = b"WEBP" + extended + (extra + pixels if name == b"ICCP" else pixels + extra)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def tiff(**tags: object) -> bytes:
    return encoded("TIFF", **tags)


PNGS = {
    "EXIF of noise": chunk(b"eXIf", GARBAGE),
    "EXIF of nothing": chunk(b"eXIf", b""),
    "EXIF whose directory ends early": chunk(b"eXIf", b"II*\0\x08\0\0\0\xff\xff\1"),
    "EXIF whose directory leads to itself": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\x08\0\0\0"),
    "EXIF with a wrong checksum": with_bad_checksum(chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0")),
    "an orientation of text": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\2\0\4\0\0\0up!\0\0\0\0\0"),
    "an orientation that there is not": chunk(b"eXIf", b"II*\0\x08\0\0\0\1\0\x12\1\3\0\1\0\0\0\x4d\0\0\0\0\0\0\0"),
    "a raw EXIF profile of noise": chunk(b"tEXt", b"Raw profile type exif\0\nexif\n 12\nzz not hex"),
    "text of two megabytes": chunk(b"tEXt", b"Comment\0" + MUCH),
    "text that inflates": chunk(b"zTXt", b"Comment\0\0" + BOMB),
    "international text that inflates": chunk(b"iTXt", b"Comment\0\1\0\0\0" + BOMB),
    "text of 70 megabytes in all": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(1_000_000))) * 70,
    "text of an unknown compression": chunk(b"zTXt", b"Comment\0\7" + GARBAGE),
    "text with a wrong checksum": with_bad_checksum(chunk(b"tEXt", b"Comment\0hello")),
    "XMP of noise": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + GARBAGE),
    "XMP with an orientation of text": chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0 tiff:Orientation="up"'),
    "a profile that inflates": chunk(b"iCCP", b"name\0\0" + BOMB),
    "a profile of two megabytes": chunk(b"iCCP", b"name\0\0" + zlib.compress(MUCH)),
    "a profile of noise": chunk(b"iCCP", b"name\0\0" + GARBAGE),
    "a profile of an unknown compression": chunk(b"iCCP", b"name\0\7" + GARBAGE),
    "a profile that is a name alone": chunk(b"iCCP", b"name\0"),
    "a profile with a wrong checksum": with_bad_checksum(chunk(b"iCCP", b"name\0\0" + zlib.compress(PROFILE))),
    "gamma of one byte": chunk(b"gAMA", b"\1"),
    "gamma of nothing": chunk(b"gAMA", bytes(4)),
    "chromaticities of three bytes": chunk(b"cHRM", b"abc"),
    "an sRGB chunk of nothing": chunk(b"sRGB", b""),
    "a resolution of two bytes": chunk(b"pHYs", b"ab"),
    "a time of noise": chunk(b"tIME", GARBAGE),
    "a chunk that nobody knows": chunk(b"abCd", GARBAGE),
    "an unknown chunk with a wrong checksum": with_bad_checksum(chunk(b"abCd", GARBAGE)),
}  # fmt: skip
JPEGS = {
    "EXIF of noise": behind_soi(PLAIN, segment(0xE1, b"Exif\0\0" + GARBAGE)),
    "EXIF of nothing": behind_soi(PLAIN, segment(0xE1, b"Exif\0\0")),
    "EXIF twice": behind_soi(PLAIN, segment(0xE1, b"Exif\0\0" + GARBAGE), segment(0xE1, b"Exif\0\0MM\0*")),
    "an EXIF thumbnail of noise": with_exif_thumbnail(PLAIN, thumbnail=GARBAGE),
    "a resolution of nothing": behind_soi(PLAIN, segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0\x1a\1\5\0\1\0\0\0\x1a\0\0\0" + bytes(16))),
    "XMP of noise": behind_soi(PLAIN, segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + GARBAGE)),
    "a piece of a profile": behind_soi(PLAIN, segment(0xE2, b"ICC_PROFILE\0\2\7" + GARBAGE)),
    "a profile of a name alone": behind_soi(PLAIN, segment(0xE2, b"ICC_PROFILE\0")),
    "a list of pictures of noise": behind_soi(PLAIN, segment(0xE2, b"MPF\0" + GARBAGE)),
    "a list of pictures of nothing": behind_soi(PLAIN, segment(0xE2, b"MPF\0")),
    "Photoshop resources of noise": behind_soi(PLAIN, segment(0xED, b"Photoshop 3.0\0008BIM" + GARBAGE)),
    "Photoshop resources cut short": behind_soi(PLAIN, segment(0xED, b"Photoshop 3.0\0008BIM\3\xed\0")),
    "Adobe's segment cut short": behind_soi(PLAIN, segment(0xEE, b"Adobe")),
    "a JFIF of a later version": jfif(0x0201),
    "a JFIF of version nothing": jfif(0),
    "a JFIF cut short": behind_soi(PLAIN, segment(0xE0, b"JFIF\0")),
    "a long comment": behind_soi(PLAIN, segment(0xFE, bytes(65_533))),
    "every segment of noise": behind_soi(PLAIN, *(segment(0xE0 + n, GARBAGE) for n in range(16))),
}  # fmt: skip
ENCODED_ANEW = {
    "WebP: EXIF of noise": webp(b"EXIF", GARBAGE),
    "WebP: EXIF of nothing": webp(b"EXIF", b""),
    "WebP: EXIF with a JPEG's beginning": webp(b"EXIF", b"Exif\0\0" + GARBAGE),
    "WebP: XMP of noise": webp(b"XMP ", GARBAGE),
    "WebP: a profile of noise": webp(b"ICCP", GARBAGE),
    "WebP: a profile of two megabytes": webp(b"ICCP", MUCH),
    "TIFF: a profile of noise": tiff(icc_profile=GARBAGE),
    "TIFF: a description of noise": tiff(description="\x01\x02 %s"),
    "TIFF: XMP of noise": tiff(tiffinfo={700: GARBAGE}),
    "TIFF: EXIF that leads nowhere": tiff(tiffinfo={0x8769: 2**31}),
    "TIFF: a resolution of nothing": tiff(tiffinfo={282: 0, 283: 0, 296: 9}),
}  # fmt: skip


@pytest.mark.parametrize("behind_pixels", [False, True], ids=["before", "behind"])
@pytest.mark.parametrize("case", PNGS)
def test_a_png_keeps_its_pixels(case: str, behind_pixels: bool) -> None:
    data = with_chunk(PNG, PNGS[case], behind_pixels=behind_pixels)
    judged = normalise(data, "a.png", StoredFormat())
    assert (judged.image, judged.notes) in [
        (data, ()),
        (PNG, ("metadata-dropped",)),
        (with_chunk(PNG, PNGS[case]), ("metadata-dropped",)),
    ]
    assert np.array_equal(decode(judged.image), decode(PNG))
    assert inspect(data, "a.png", StoredFormat()) == judged
    assert (
        normalise(data, "a.png", StoredFormat(image_size=32)).image
        == normalise(PNG, "a.png", StoredFormat(image_size=32)).image
    )


@pytest.mark.parametrize("case", JPEGS)
def test_a_jpeg_keeps_its_pixels(case: str) -> None:
    data = JPEGS[case]
    judged = normalise(data, "a.jpg", StoredFormat())
    assert judged.image is not None
    assert np.array_equal(decode(judged.image), decode(PLAIN))
    assert judged.image == data or judged.notes == ("metadata-dropped",)
    assert inspect(data, "a.jpg", StoredFormat()) == judged


@pytest.mark.parametrize("case", ENCODED_ANEW)
def test_other_formats_keep_their_pixels(case: str) -> None:
    judged = normalise(ENCODED_ANEW[case], "a", StoredFormat())
    assert judged.image is not None
    assert np.array_equal(decode(judged.image), decode(PNG))


def test_what_is_left_out_is_not_what_turns_a_picture_upright() -> None:
    turned = encoded("PNG", exif=TURNED)
    judged = normalise(with_chunk(turned, chunk(b"iCCP", b"name\0\0" + BOMB)), "a.png", StoredFormat())
    assert judged.notes == ("rotated-by-exif", "metadata-dropped")
    assert judged.image == normalise(turned, "a.png", StoredFormat()).image


def test_a_turned_picture_may_have_odd_fields_beside_its_orientation() -> None:
    """Putting its EXIF together anew would fail on some, and nobody needs it."""
    data = with_exif_thumbnail(PLAIN, orientation=6, thumbnail=GARBAGE)
    assert normalise(data, "a.jpg", StoredFormat()).notes == ("rotated-by-exif",)


@pytest.mark.parametrize(
    "extra", [chunk(b"tRNS", b"\0"), with_bad_checksum(chunk(b"tRNS", bytes(6)))], ids=["short", "checksum"]
)
def test_a_bad_transparency_is_no_metadata(extra: bytes) -> None:
    with pytest.raises(BadImage) as caught:
        inspect(with_chunk(PNG, extra), "a.png", StoredFormat())
    assert caught.value.reason in ("damaged", "truncated")


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(["PNG", "JPEG", "WEBP"]))
def test_noise_in_metadata_changes_no_pixel(seed: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = "description"
    exif.get_ifd(0x8769)[0x9003] = "2026:01:01 00:00:00"
    options: dict[str, object] = {"WEBP": {"lossless": True}}.get(kind, {})
    data = encoded(kind, exif=exif, icc_profile=PROFILE, xmp=b"<x:xmpmeta>" * 9, **options)
    noisy, chance = bytearray(data), random.Random(seed)
    for needle, length in ((exif.tobytes()[6:], 60), (PROFILE, 400), (b"<x:xmpmeta>" * 9, 99)):
        at = data.find(needle)
        for _ in range(chance.randrange(4) if at >= 0 else 0):
            noisy[at + chance.randrange(length)] = chance.randrange(256)
    judged, whole = normalise(bytes(noisy), "a", StoredFormat()), normalise(data, "a", StoredFormat())
    if "rotated-by-exif" not in judged.notes:
        assert judged.image is not None
        assert whole.image is not None
        assert np.array_equal(decode(judged.image), decode(whole.image))
