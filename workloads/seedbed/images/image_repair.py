"""Repair images without changing a pixel: remove damaged metadata and a few stray bytes.

The caller checks a repaired file as strictly as any other.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from seedbed.images import jpeg_markers, png_chunks
from seedbed.images.image_decoder import JPEG_START, UndecodableImageError, decode

_STRAY_AT_THE_END: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_IN_THE_DECODER: Final = 8
"""Most bytes that libjpeg reads ahead and does not count as stray."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """A repaired file, and the short name of what was removed."""

    data: bytes
    note: str


def repair(data: bytes) -> Repaired | None:
    """Return the file with its image only; None where it cannot be repaired."""
    try:
        if data.startswith(JPEG_START):
            return _repair_jpeg(data)
        if data.startswith(b"\x89PNG"):
            bare = png_chunks.without_extras(data, png_chunks.chunks(data))
            return Repaired(data=bare, note="metadata-dropped")
    except (jpeg_markers.BrokenJpegError, png_chunks.BrokenPngError):
        pass
    return None


def _repair_jpeg(data: bytes) -> Repaired | None:
    parts = jpeg_markers.segments(data)
    bare = jpeg_markers.without_extras(data, parts)
    if bare is None:
        return None
    whole = _without_stray_end(bare)
    stray = whole is not bare or any(part.stray for part in parts)
    return Repaired(data=whole, note="stray-bytes-dropped" if stray else "metadata-dropped")


def _without_stray_end(data: bytes) -> bytes:
    """Remove bytes between the coded pixels and the end marker, if they are not coded pixels.

    They are not if they are fill bytes, all alike, or if the coded pixels before them end as the standard
    demands, with one-bits up to the byte. If bytes were lost before them, that is mostly not so.
    """
    found = _STRAY_AT_THE_END.search(_decoder_message(data))
    if found is None or int(found[1]) > jpeg_markers.MAX_STRAY_BYTES:
        return data
    marker = len(data) - 2
    ends = range(marker - int(found[1]) - _IN_THE_DECODER, marker - int(found[1]) + 1)
    end = next(end for end in ends if not _decoder_message(data[:end] + data[marker:]))
    whole = data[:end] + data[marker:]
    alike = len(set(data[end:marker])) == 1
    return whole if alike or _ends_with_ones(whole) else data


def _ends_with_ones(data: bytes) -> bool:
    """Return whether the unused bits of the last coded byte are ones."""
    place = len(data) - 3
    pixels = decode(data)
    for bit in range(7):
        other = bytes([data[place] ^ (1 << bit)])
        changed = data[:place] + other + data[place + 1 :]
        if other == b"\xff" or _decoder_message(changed) or (decode(changed) != pixels).any():
            return True
        if not data[place] >> bit & 1:
            return False
    return True


def _decoder_message(data: bytes) -> str:
    """Return the decoder's error message, empty where it decodes the file."""
    try:
        decode(data)
    except UndecodableImageError as error:
        return str(error)
    return ""
