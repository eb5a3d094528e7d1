"""Decode image files to uint8 RGB pixels (H W C): the same bits for the same decoder versions.

libjpeg-turbo with its accurate integer transform decodes JPEG, Pillow PNG; nothing else is opened. Warnings
of libjpeg are errors: it fills in missing pixels and only warns. EXIF orientation is not applied: a dataset
stores images upright.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL
import simplejpeg
from PIL import Image, UnidentifiedImageError, features

Pixels = npt.NDArray[np.uint8]
Octets = bytes | bytearray | memoryview | npt.NDArray[np.uint8]

DENOMINATORS: Final = (8, 4, 2, 1)
"""The reductions of libjpeg's scaled transform that are as fast as the full one."""

JPEG_START: Final = b"\xff\xd8\xff"

MAX_PIXELS: Final = 80_000_000
"""Most pixels of an image, read from its header before memory is allocated; builds have the same bound."""

_OTHER_FORMATS: Final = ("PNG",)
"""What shards hold beside JPEG. Pillow would try dozens of formats, some of which start other programs."""


class UndecodableImageError(ValueError):
    """The bytes are not an image that can be decoded completely."""


class ThreadBuffer(threading.local):
    """One growing buffer per thread: page faults of new memory cost as much as decoding or reading."""

    def __init__(self) -> None:
        self._buffer = np.empty(0, np.uint8)

    def at_least(self, size: int) -> npt.NDArray[np.uint8]:
        """Return the calling thread's buffer, of at least `size` bytes; its next call returns it again."""
        if len(self._buffer) < size:
            self._buffer = np.empty(size, np.uint8)
        return self._buffer


_buffer = ThreadBuffer()


def decode(data: Octets) -> Pixels:
    """Decode an image to RGB, shape (H, W, 3), in its own memory. Raises UndecodableImageError."""
    return decode_reduced(data, 1).copy()


def decode_reduced(data: Octets, denominator: int) -> Pixels:
    """Decode to 1/denominator of each side, rounded up, if the format supports it (JPEG); else at full size.

    The result lies in a buffer of the calling thread and is overwritten by its next call.
    """
    octets = np.frombuffer(data, np.uint8)
    if octets[:3].tobytes() == JPEG_START:
        return _decode_jpeg(octets, denominator)
    return _decode_other(octets)


def decode_cmyk(data: Octets) -> None:
    """Decode a JPEG of four inks, to find damage. Raises UndecodableImageError."""
    octets = np.frombuffer(data, np.uint8)
    with _decoder_errors():
        _jpeg_size(octets)
        simplejpeg.decode_jpeg(octets, "CMYK")


def picture_size(data: Octets) -> tuple[int, int]:
    """Return (width, height) from the header alone."""
    octets = np.frombuffer(data, np.uint8)
    with _decoder_errors():
        if octets[:3].tobytes() == JPEG_START:
            return _jpeg_size(octets)
        with _open_other(octets) as image:
            return image.size


def decoder_versions() -> dict[str, str]:
    """Return the versions of which decoded and resized pixels depend, for the environment class."""
    versions = {"pillow": PIL.__version__, "simplejpeg": simplejpeg.__version__}
    for name in ("jpg", "zlib", "libtiff", "webp"):
        versions[f"pillow.{name}"] = features.version(name) or "none"
    return versions


def _decode_jpeg(octets: Pixels, denominator: int) -> Pixels:
    with _decoder_errors():
        width, height = _jpeg_size(octets)
        least_height, least_width = -(-height // denominator), -(-width // denominator)
        buffer = _buffer.at_least(height * width * 3)
        pixels: Pixels = simplejpeg.decode_jpeg(
            octets, "RGB", min_height=least_height, min_width=least_width, buffer=buffer
        )
    return pixels


def _decode_other(octets: Pixels) -> Pixels:
    with _decoder_errors(), _open_other(octets) as image:
        return np.asarray(image.convert("RGB"))


def _jpeg_size(octets: Pixels) -> tuple[int, int]:
    height, width, _, _ = simplejpeg.decode_jpeg_header(octets)
    _require_bounded(width, height)
    return width, height


def _open_other(octets: Pixels) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(octets.data), formats=_OTHER_FORMATS)
    except UnidentifiedImageError:
        raise UndecodableImageError("it is neither a JPEG nor a PNG image") from None
    _require_bounded(*image.size)
    return image


def _require_bounded(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise UndecodableImageError(f"{width} x {height} pixels, more than {MAX_PIXELS}")


@contextmanager
def _decoder_errors() -> Iterator[None]:
    """Raise UndecodableImageError for all errors of decoders: Pillow's plug-ins raise many types."""
    try:
        yield
    except Exception as error:
        raise UndecodableImageError(_one_line(error)) from error


def _one_line(error: Exception) -> str:
    if isinstance(error, KeyError):  # simplejpeg raises it for a subsampling that it does not know
        return f"unknown subsampling {error}"
    return " ".join(str(error).split()) or type(error).__name__
