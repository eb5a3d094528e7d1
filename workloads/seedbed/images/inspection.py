"""What a source file may be, and what of it is stored: 8-bit JPEG or PNG, gray or RGB, upright, one frame.

`normalise` either returns bytes that every decoder reads the same way, with notes on what was changed, or
refuses with a reason. Nothing is guessed: colours that need a profile, depth that would be lost and frames
that would be dropped are refused.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath

from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

# What Pillow warns about is judged here: the limit below is lower than its own, damage ends in a verdict.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

MAX_PIXELS = 80_000_000
_FORMATS = {
    "JPEG": "JPEG",
    "MPO": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "BMP": "BMP",
    "DIB": "BMP",
    "TIFF": "TIFF",
}
_SUFFIXES = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".mpo": "JPEG",
    ".png": "PNG",
} | {
    ".webp": "WebP",
    ".bmp": "BMP",
    ".dib": "BMP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
}
_BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",),
    "PNG": (b"\x89PNG",),
    "WebP": (b"RIFF",),
    "BMP": (b"BM",),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_MODES = ("1", "L", "P", "RGB", *_ALPHA)
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


class BadImage(Exception):  # noqa: N818 - it is a verdict about a file, not a failure of ours
    """A source that is refused: `reason` is a short name from a closed list, `detail` what was seen."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Rules:
    """How accepted images are stored."""

    image_size: int | None = None
    """Shorter side in pixels, or None for the source's own size."""
    encoding: str = "source"
    """`source` (bytes kept where possible, else PNG), `png` or `jpeg` (quality 95)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """An accepted source."""

    image: bytes | None
    """The bytes to store; None where only `inspect` ran and they would be encoded anew."""
    weight: int
    """Bytes that the stored image takes, estimated from its pixels where it is encoded anew."""
    notes: tuple[str, ...]
    """What was changed or is odd, by short name."""


def has_image_suffix(path: str) -> bool:
    """Say whether a file name looks like an image of an accepted format."""
    return PurePosixPath(path).suffix.lower() in _SUFFIXES


def inspect(data: bytes, path: str, rules: Rules) -> Inspection:
    """Decode a source completely and judge it, without encoding; raises `BadImage`."""
    picture, notes = _accepted(data, path)
    if not _changes(notes, rules):
        return Inspection(image=data, weight=len(data), notes=notes)
    width, height = _target_size(picture.size, rules)
    return Inspection(image=None, weight=width * height * len(picture.getbands()) // 2, notes=notes)


def normalise(data: bytes, path: str, rules: Rules) -> Inspection:
    """Return the bytes to store for a source; raises `BadImage` exactly where `inspect` does."""
    picture, notes = _accepted(data, path)
    if not _changes(notes, rules):
        return Inspection(image=data, weight=len(data), notes=notes)
    size = _target_size(picture.size, rules)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    image = _encode(picture, rules.encoding)
    return Inspection(image=image, weight=len(image), notes=notes)


_KEEPS_BYTES = ("wrong-suffix", "no-suffix", "multi-picture")


def _changes(notes: tuple[str, ...], rules: Rules) -> bool:
    asked = rules.image_size is not None or rules.encoding != "source"
    return asked or any(note not in _KEEPS_BYTES for note in notes)


@contextmanager
def _judging(reason: str) -> Iterator[None]:
    """Turn what Pillow raises on damaged files into a verdict; its parsers raise many types."""
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadImage("decompression-bomb", str(error)) from error
    except Exception as error:
        cut_off = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise BadImage("truncated" if cut_off else reason, str(error)[:200].replace("\n", " ")) from error


def _accepted(data: bytes, path: str) -> tuple[Image.Image, tuple[str, ...]]:
    """Return the upright 8-bit L or RGB picture of a source, and the notes."""
    if not data:
        raise BadImage("empty-file", "the file has 0 bytes")
    picture = _opened(data)
    with _judging("damaged"):
        _refuse_by_header(picture, data)
        notes = [*_name_notes(picture, path), *_format_notes(picture)]
        picture.load()
        _require_end(str(picture.format), data)
        if picture.getexif().get(_ORIENTATION, 1) not in (0, 1):
            picture = ImageOps.exif_transpose(picture)
            notes.append("rotated-by-exif")
        return _plain(picture, notes), tuple(notes)


def _opened(data: bytes) -> Image.Image:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "truncated images would pass"
    with _judging("damaged"):
        try:
            return Image.open(io.BytesIO(data))
        except UnidentifiedImageError:
            raise _unidentified(data) from None


def _unidentified(data: bytes) -> BadImage:
    for container, beginnings in _BEGINNINGS.items():
        if data.startswith(beginnings):
            return BadImage("damaged", f"it begins like {container}, but cannot be read")
    return BadImage("not-an-image", "its content is no JPEG, PNG, WebP, BMP or TIFF image")


def _refuse_by_header(picture: Image.Image, data: bytes) -> None:
    if picture.format not in _FORMATS:
        raise BadImage("unsupported-format", f"{picture.format}; JPEG, PNG, WebP, BMP and TIFF are accepted")
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise BadImage("decompression-bomb", f"{width} x {height} pixels, more than {MAX_PIXELS}")
    if picture.format != "MPO" and getattr(picture, "n_frames", 1) > 1:
        raise BadImage("animated", f"{getattr(picture, 'n_frames', 1)} frames")
    if picture.mode == "CMYK":
        raise BadImage("cmyk", "converting CMYK needs a colour profile; convert it to RGB")
    if _bits(picture, data) > 8:
        raise BadImage("more-than-8-bit", f"{_bits(picture, data)} bits per channel; convert it to 8")
    if picture.mode not in _MODES:
        raise BadImage("colour-space", f"mode {picture.mode}; convert it to RGB or gray")


def _bits(picture: Image.Image, data: bytes) -> int:
    """Return the bits per channel of the file; Pillow itself narrows 16-bit RGB silently."""
    if picture.mode in ("I", "F"):
        return 32
    if picture.mode.startswith("I;16"):
        return 16
    if picture.format == "PNG":
        return data[24]
    tags = getattr(picture, "tag_v2", None)
    bits = (8,) if tags is None else tags.get(_BITS_PER_SAMPLE, (1,))
    return int(max(bits)) if isinstance(bits, tuple) else int(bits)


def _name_notes(picture: Image.Image, path: str) -> list[str]:
    suffix = PurePosixPath(path).suffix.lower()
    if not suffix:
        return ["no-suffix"]
    return [] if _SUFFIXES.get(suffix) == _FORMATS[str(picture.format)] else ["wrong-suffix"]


def _format_notes(picture: Image.Image) -> list[str]:
    if picture.format == "MPO":
        return ["multi-picture"]
    return [] if picture.format in ("JPEG", "PNG") else [f"from-{_FORMATS[str(picture.format)].lower()}"]


def _require_end(container: str, data: bytes) -> None:
    """Refuse a file without its end marker; decoders forgive the loss, and then differ in the last pixels."""
    whole = True
    if container in ("JPEG", "MPO"):
        whole = data.rfind(b"\xff\xd9") > data.find(b"\xff\xda") > 0
    elif container == "PNG":
        whole = data.rfind(b"IEND") > 0
    if not whole:
        raise BadImage("truncated", "the end of the file is missing")


def _plain(picture: Image.Image, notes: list[str]) -> Image.Image:
    """Return mode L or RGB without loss, or refuse what would lose transparency."""
    if picture.mode in _ALPHA or "transparency" in picture.info:
        picture = _without_alpha(picture)
        notes.append("opaque-alpha-dropped")
    if picture.mode in ("P", "1"):
        notes.append("palette-expanded" if picture.mode == "P" else "bilevel-expanded")
        return picture.convert("RGB" if picture.mode == "P" else "L")
    return picture


def _without_alpha(picture: Image.Image) -> Image.Image:
    full = picture.convert("RGBA")
    if full.getchannel("A").getextrema() != (255, 255):
        raise BadImage("alpha", "it has transparent pixels; put it on a background first")
    return full.convert("L" if picture.mode in ("1", "L", "LA", "La") else "RGB")


def _target_size(size: tuple[int, int], rules: Rules) -> tuple[int, int]:
    if rules.image_size is None:
        return size
    short, long = sorted(size)
    other = (long * rules.image_size + short // 2) // short
    if other * rules.image_size > MAX_PIXELS:
        raise BadImage("aspect-ratio", f"{size[0]} x {size[1]} would become {other} pixels long")
    return (rules.image_size, other) if size[0] <= size[1] else (other, rules.image_size)


def _encode(picture: Image.Image, encoding: str) -> bytes:
    bare = picture.copy()
    bare.info = {}  # no profile, comment or orientation may travel with the pixels
    sink = io.BytesIO()
    if encoding == "jpeg":
        bare.save(sink, "JPEG", quality=95, subsampling=0)
    else:
        bare.save(sink, "PNG", compress_level=6)
    return sink.getvalue()
