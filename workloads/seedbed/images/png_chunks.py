"""Parse the chunks of a PNG file: check those of the image, and remove the others."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_PICTURE: Final = frozenset({b"IHDR", b"PLTE", b"tRNS", b"acTL", b"fcTL", b"fdAT", b"IDAT", b"IEND"})
"""Chunks of the image itself; all others are metadata: text, profiles, gamma, times."""
_KEPT: Final = _PICTURE | {b"eXIf"}
"""EXIF holds the orientation."""


class BrokenPngError(ValueError):
    """A chunk of the image is missing or damaged; the message names it."""


class Chunk(NamedTuple):
    """One chunk: bytes [start, end) of the file, with length and checksum."""

    name: bytes
    start: int
    end: int

    def is_whole(self, data: bytes) -> bool:
        """Return whether its checksum is right."""
        stated = int.from_bytes(data[self.end - 4 : self.end], "big")
        return zlib.crc32(data[self.start + 4 : self.end - 4]) == stated


def chunks(data: bytes) -> tuple[Chunk, ...]:
    """Return the chunks up to IEND; raises `BrokenPngError` where the file ends before."""
    return tuple(_walk(data))


def require_whole(data: bytes, parts: Sequence[Chunk]) -> None:
    """Raise `BrokenPngError` where the checksum of an image chunk is wrong; decoders ignore some."""
    for part in parts:
        if part.name in _PICTURE and not part.is_whole(data):
            raise BrokenPngError(f"the checksum of a chunk {part.name.decode()} does not fit")


def without_extras(data: bytes, parts: Sequence[Chunk]) -> bytes:
    """Return the image without trailing bytes and metadata, except a sound EXIF chunk."""
    kept = (part for part in parts if part.name in _PICTURE or (part.name in _KEPT and part.is_whole(data)))
    return _SIGNATURE + b"".join(data[part.start : part.end] for part in kept)


def _walk(data: bytes) -> Iterator[Chunk]:
    place, name = len(_SIGNATURE), b""
    while name != b"IEND":
        name = data[place + 4 : place + 8]
        end = place + 12 + int.from_bytes(data[place : place + 4], "big")
        if len(name) < 4 or end > len(data):
            raise BrokenPngError("truncated: the end of the file is missing")
        yield Chunk(name, place, end)
        place = end
