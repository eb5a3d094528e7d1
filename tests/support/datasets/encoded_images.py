"""Pictures as encoders write them, and what happens to files: cuts, holes, lost bytes, stray ones."""

from __future__ import annotations

import io
import random
import struct
import zlib

import numpy as np
from PIL import Image


def photo(seed: int = 0, *, width: int = 96, height: int = 64) -> Image.Image:
    """Smooth colours and texture, so that the coded pixels are neither tiny nor noise alone."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (5, 6, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    texture = rng.normal(0, 9, (height, width, 3)).astype(int)
    return Image.fromarray((smooth + texture).clip(0, 255).astype(np.uint8))


def encoded(kind: str, picture: Image.Image | None = None, **options: object) -> bytes:
    sink = io.BytesIO()
    (picture or photo()).save(sink, kind, **options)
    return sink.getvalue()


def jpeg(**options: object) -> bytes:
    return encoded("JPEG", **options)


def place(data: bytes, marker: int, *, number: int = 0) -> int:
    """Where a marker of the main picture lies; files with thumbnails are not for it."""
    at = -1
    for _ in range(number + 1):
        at = data.index(bytes([0xFF, marker]), at + 1)
    return at


def scans(data: bytes) -> int:
    return data.count(b"\xff\xda")


def with_exif_thumbnail(data: bytes, *, orientation: int = 1, thumbnail: bytes | None = None) -> bytes:
    """Put an EXIF segment with a whole small JPEG, end marker and all, behind SOI."""
    small = thumbnail if thumbnail is not None else encoded("JPEG", photo(7, width=24, height=16))
    entries = struct.pack("<HHHII", 1, 0x0112, 3, 1, orientation)
    first = struct.pack("<2sHI", b"II", 42, 8) + entries + struct.pack("<I", 26)
    tags = ((0x0103, 3, 6), (0x0201, 4, 26 + 2 + 36 + 4), (0x0202, 4, len(small)))
    second = struct.pack("<H", 3) + b"".join(
        struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags
    )
    payload = b"Exif\0\0" + first + second + bytes(4) + small
    return data[:2] + segment(0xE1, payload) + data[2:]


def segment(marker: int, payload: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(payload) + 2).to_bytes(2, "big") + payload


def behind_soi(data: bytes, *segments: bytes) -> bytes:
    return data[:2] + b"".join(segments) + data[2:]


def before_end(data: bytes, stray: bytes) -> bytes:
    assert data.endswith(b"\xff\xd9")
    return data[:-2] + stray + data[-2:]


def with_size(data: bytes, *, height: int, width: int) -> bytes:
    at = next(data.index(bytes([0xFF, kind])) for kind in (0xC0, 0xC2) if bytes([0xFF, kind]) in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def without_segments(data: bytes, marker: int) -> bytes:
    while (at := data.find(bytes([0xFF, marker]))) >= 0:
        data = data[:at] + data[at + 2 + int.from_bytes(data[at + 2 : at + 4], "big") :]
    return data


def damaged(data: bytes, random: random.Random) -> bytes:
    """Cut, blank, lose or flip something behind the first 100 bytes."""
    at, length = random.randrange(100, len(data)), random.choice([1, 3, 40, 512, 1500])
    return random.choice(
        [
            data[:at],
            data[:at] + b"\xff\xd9",
            data[:at] + bytes(min(length, len(data) - at)) + data[at + length :],
            data[:at] + data[at + length :],
            data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :],
            data[:at] + random.randbytes(length) + data[at:],
        ]
    )


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def with_chunk(png: bytes, extra: bytes, *, behind_pixels: bool = False) -> bytes:
    """Put a chunk behind IHDR, or in front of IEND."""
    at = len(png) - 12 if behind_pixels else 33
    return png[:at] + extra + png[at:]


def palette_png(indices: list[int], *, colours: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(indices), 1, 8, 3, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes([0, *indices])))
    palette = chunk(b"PLTE", bytes(range(3 * colours)))
    return b"\x89PNG\r\n\x1a\n" + header + palette + pixels + chunk(b"IEND", b"")
