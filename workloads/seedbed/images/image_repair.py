"""The same picture without what is no part of it: metadata that decoders stumble over, a few stray bytes.

No pixel is guessed here. What comes back has to be decoded strictly like any other file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from seedbed.images import jpeg_markers, png_chunks
from seedbed.images.image_decoder import JPEG_START, UndecodableImageError, decode

_STRAY_AT_THE_END: Final = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
_IN_THE_DECODER: Final = 8
"""As many bytes libjpeg may have read ahead: it does not count them as stray."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repaired:
    """A file anew, and the short name of what was left out."""

    data: bytes
    note: str


def repair(data: bytes) -> Repaired | None:
    """Return the file without what is no part of its picture; None where that does not help."""
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
    """Leave out bytes between the coded pixels and the end marker, where they are no coded pixels.

    Fill bytes are all alike. Others follow coded pixels that ended as the standard wants it, with bits of
    one up to the byte: bytes that are left because some before them were lost mostly do not.
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
    """Return whether the bits of the last coded byte that no pixel needs are ones."""
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
    """Return what the decoder says against a file, nothing where it is content."""
    try:
        decode(data)
    except UndecodableImageError as error:
        return str(error)
    return ""
