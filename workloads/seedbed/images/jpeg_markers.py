"""Parse the marker segments of a JPEG file: whether its scans are complete, and which parts are metadata.

Nothing is decoded. Segments are skipped by their length, so a thumbnail inside of a segment is not mistaken
for the image. Bytes after the end marker (more images, a video, garbage) are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_APP0, _APP1, _APP14, _APP15, _COM = 0xE0, 0xE1, 0xEE, 0xEF, 0xFE
_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
_STANDALONE: Final = frozenset({0x01, *range(0xD0, 0xD8), _EOI})
"""Markers without a length: TEM, RSTn, EOI."""
_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE: Final = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_MARKER: Final = re.compile(rb"\xff+[^\x00\xff]")
_END_OF_SCAN: Final = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")
_PLAIN_JFIF: Final = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
MAX_STRAY_BYTES: Final = 16
"""Most bytes without meaning before a marker; more of them are a damaged segment."""


class BrokenJpegError(ValueError):
    """The segments are not a complete image; the message says what is missing."""


class Segment(NamedTuple):
    """A marker with its parameters and, after SOS, the coded pixels."""

    marker: int
    start: int
    end: int
    """Position after its last byte."""
    stray: int
    """Bytes without meaning before it."""


def segments(data: bytes) -> tuple[Segment, ...]:
    """Return the segments from SOI up to EOI; raises `BrokenJpegError` where the file ends before."""
    return tuple(_walk(data))


def precision(data: bytes) -> int:
    """Return the bits per sample of the frame; 8 where there is no frame."""
    try:
        frame = next(part for part in _walk(data) if part.marker in _FRAMES)
    except (BrokenJpegError, StopIteration):
        return 8
    return data[frame.start + 4]


def require_all_scans(data: bytes, parts: Sequence[Segment]) -> None:
    """Raise `BrokenJpegError` where a component, or a bit of its coefficients, is in no scan.

    Decoders replace what is missing by zeros without a warning: a progressive file without its last scans is
    blurred, one without a component has wrong colours.
    """
    missing: dict[int, set[int]] = {}
    progressive = False
    for part in parts:
        if part.marker in _FRAMES:
            progressive = part.marker in _PROGRESSIVE
            wanted = range(64) if progressive else range(1)
            missing = {number: set(wanted) for number in data[part.start + 10 : part.end : 3]}
        elif part.marker == _SOS:
            _remove_decoded(missing, data[part.start + 4 : part.end], progressive=progressive)
    if any(missing.values()):
        raise BrokenJpegError("truncated: the last scans of the image are missing")


def without_extras(data: bytes, parts: Sequence[Segment]) -> bytes | None:
    """Return the image without stray bytes, trailing bytes and metadata except EXIF.

    EXIF holds the orientation; the JFIF and Adobe segments decide about colours. None where there are so many
    stray bytes that a segment may have been lost.
    """
    if any(part.stray > MAX_STRAY_BYTES for part in parts):
        return None
    return b"\xff\xd8" + b"".join(_without_metadata(data, part) for part in parts)


def _without_metadata(data: bytes, part: Segment) -> bytes:
    """Return a segment, or nothing for metadata, or for an Adobe segment that is too short for libjpeg."""
    segment = data[part.start : part.end]
    name, long_enough = (part.marker, segment[4:9]), len(segment) >= 16
    if name == (_APP0, b"JFIF\0") and long_enough:
        return _PLAIN_JFIF
    metadata = _APP0 <= part.marker <= _APP15 or part.marker == _COM
    kept = name == (_APP1, b"Exif\0") or (name == (_APP14, b"Adobe") and long_enough)
    return b"" if metadata and not kept else segment


def _remove_decoded(missing: dict[int, set[int]], scan: bytes, *, progressive: bool) -> None:
    """Remove the coefficients that a scan completes; `scan` begins with its count of components."""
    count = scan[0] if scan else 0
    first, last, bits = scan[1 + 2 * count : 4 + 2 * count].ljust(3, b"\xff")[:3]
    brought = range(first, last + 1) if progressive else range(1)
    if progressive and bits & 15:  # a later scan refines them
        return
    for number in scan[1 : 1 + 2 * count : 2]:
        missing.get(number, set()).difference_update(brought)


def _walk(data: bytes) -> Iterator[Segment]:
    place = 2
    while True:
        found = _MARKER.search(data, place)
        if found is None:
            raise BrokenJpegError("truncated: the end of the file is missing")
        start, marker = found.end() - 2, data[found.end() - 1]
        end = _end(data, marker, start)
        yield Segment(marker, start, end, found.start() - place)
        if marker == _EOI:
            return
        place = end


def _end(data: bytes, marker: int, start: int) -> int:
    if marker == _SOI:
        raise BrokenJpegError("another image begins before its end")
    if marker in _STANDALONE:
        return start + 2
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    if end > len(data):
        raise BrokenJpegError("truncated: the end of the file is missing")
    if marker != _SOS:
        return end
    found = _END_OF_SCAN.search(data, end)
    if found is None:
        raise BrokenJpegError("truncated: the end of the file is missing")
    return found.start()
