"""Check the strips or tiles of a TIFF file for damage, where their compression can show it.

libtiff stops at the last pixel, before the checksum of a deflated strip, and ignores the warnings of libjpeg.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final

from PIL import TiffImagePlugin

from seedbed.images.image_decoder import decode_reduced

_COMPRESSION: Final = 259
_PLACES: Final = ((273, 279), (324, 325))
"""Offsets and lengths of strips; of tiles."""
_JPEG_TABLES: Final = 347
_JPEG: Final = 7
_DEFLATE: Final = (8, 32946)
_PIECE: Final = 1 << 20


def require_whole(picture: TiffImagePlugin.TiffImageFile, data: bytes) -> None:
    """Raise `ValueError` or `zlib.error` for a damaged strip."""
    tags = picture.tag_v2
    compression = tags.get(_COMPRESSION)
    for strip in _strips(tags, data):
        if compression == _JPEG:
            tables = tags.get(_JPEG_TABLES, b"")
            decode_reduced(tables[:-2] + strip[2:] if tables else strip, 8)
        elif compression in _DEFLATE:
            _inflate(strip)


def _strips(tags: Any, data: bytes) -> Iterator[bytes]:
    for offsets, lengths in _PLACES:
        for start, length in zip(_numbers(tags, offsets), _numbers(tags, lengths), strict=False):
            yield data[start : start + length]


def _numbers(tags: Any, tag: int) -> tuple[int, ...]:
    found = tags.get(tag, ())
    return found if isinstance(found, tuple) else (found,)


def _inflate(strip: bytes) -> None:
    """Decompress a strip up to its checksum, in pieces: it may inflate to any size."""
    reader = zlib.decompressobj()
    rest = strip
    while not reader.eof:
        if not reader.decompress(rest, _PIECE) and not reader.eof:
            raise ValueError("truncated: the end of a strip is missing")
        rest = reader.unconsumed_tail
