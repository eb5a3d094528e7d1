"""Inspect source images and normalise them to what is stored: 8-bit JPEG or PNG, gray or RGB, upright.

`normalise` returns bytes that all decoders read alike, with notes on what was changed, or refuses a file with
a reason. Colours that need a profile, more than 8 bits and several frames are refused, as they would be lost.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from seedbed.images import jpeg_markers, png_chunks, tiff_strips
from seedbed.images.image_decoder import MAX_PIXELS, UndecodableImageError, decode_reduced
from seedbed.images.image_repair import repair

# Pillow's warnings are not needed: the limit below is lower than its own, and damage raises BadImage.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")

_FORMATS = {
    "JPEG": "JPEG",
    "MPO": "JPEG",
    "PNG": "PNG",
    "WEBP": "WebP",
    "BMP": "BMP",
    "DIB": "BMP",
    "TIFF": "TIFF",
}
_OPENED = tuple(name for name in _FORMATS if name != "MPO")
"""Pillow's plug-ins that may open a source; its JPEG plug-in recognises MPO."""
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
_UNSUPPORTED = {
    "GIF": (b"GIF87a", b"GIF89a"),
    "AVIF or HEIF": tuple(size + b"ftyp" for size in (b"\0\0\0\x18", b"\0\0\0\x1c", b"\0\0\0 ", b"\0\0\0$")),
    "JPEG 2000": (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51"),
    "PDF": (b"%PDF",),
    "PostScript": (b"%!PS", b"\xc5\xd0\xd3\xc6"),
    "Photoshop": (b"8BPS",),
    "icon": (b"\0\0\1\0", b"icns"),
    "JPEG XL": (b"\xff\x0a", b"\0\0\0\x0cJXL "),
}
"""Formats that are known by their first bytes and never opened."""
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_MODES = ("1", "L", "P", "RGB", *_ALPHA)
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn an image upright, by its EXIF orientation."""
_BITS_PER_SAMPLE = 258


class BadImage(Exception):  # noqa: N818 - it is a finding about a file, not a failure of ours
    """A refused source file: `reason` is a short name from a closed list, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredFormat:
    """How accepted images are stored."""

    image_size: int | None = None
    """Shorter side in pixels, or None for the source's own size."""
    encoding: str = "source"
    """`source` (bytes kept where possible, else PNG), `png` or `jpeg` (quality 95)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Inspection:
    """An accepted source."""

    image: bytes | None
    """The bytes to store; None from `inspect` where the image must be encoded again."""
    weight: int
    """Bytes of the stored image, estimated from its pixels where it must be encoded again."""
    notes: tuple[str, ...]
    """What was changed or is unusual, by short name."""


def has_image_suffix(path: str) -> bool:
    """Return whether a file name looks like an image of an accepted format."""
    return PurePosixPath(path).suffix.lower() in _SUFFIXES


@dataclass(frozen=True, kw_only=True, slots=True)
class _Accepted:
    """An accepted source image: upright, 8-bit, mode L or RGB."""

    data: bytes
    """The source's bytes, or those of its repaired form."""
    picture: Image.Image
    notes: tuple[str, ...]

    def changes(self, stored_format: StoredFormat) -> bool:
        asked = stored_format.image_size is not None or stored_format.encoding != "source"
        return asked or any(note not in _KEEPS_BYTES for note in self.notes)

    def kept(self) -> Inspection:
        return Inspection(image=self.data, weight=len(self.data), notes=self.notes)


def inspect(data: bytes, path: str | None, stored_format: StoredFormat) -> Inspection:
    """Decode and check a source completely, without encoding it; raises `BadImage`.

    The suffix of `path` is compared with the content; None where the source has no file name.
    """
    accepted = _accept(data, path)
    if not accepted.changes(stored_format):
        return accepted.kept()
    picture = accepted.picture
    width, height = _target_size(picture.size, stored_format)
    return Inspection(image=None, weight=width * height * len(picture.getbands()) // 2, notes=accepted.notes)


def normalise(data: bytes, path: str | None, stored_format: StoredFormat) -> Inspection:
    """Return the bytes to store for a source; raises `BadImage` exactly where `inspect` does."""
    accepted = _accept(data, path)
    if not accepted.changes(stored_format):
        return accepted.kept()
    picture = accepted.picture
    size = _target_size(picture.size, stored_format)
    if size != picture.size:
        picture = picture.resize(size, Image.Resampling.BICUBIC)
    image = _encode(picture, stored_format.encoding)
    return Inspection(image=image, weight=len(image), notes=accepted.notes)


_KEEPS_BYTES = ("wrong-suffix", "no-suffix", "multi-picture", "metadata-dropped", "stray-bytes-dropped")


@contextmanager
def _refuse_on_error(reason: str) -> Iterator[None]:
    """Raise BadImage for all errors of Pillow on damaged files: its parsers raise many types."""
    try:
        yield
    except (BadImage, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        raise BadImage("decompression-bomb", str(error)) from error
    except Exception as error:
        cut_off = "truncated" in str(error).lower() or isinstance(error, EOFError)
        raise BadImage("truncated" if cut_off else reason, str(error)[:200].replace("\n", " ")) from error


def _accept(data: bytes, path: str | None) -> _Accepted:
    """Check a source; a damaged one is checked again without its metadata and stray bytes."""
    if not data:
        raise BadImage("empty-file", "the file has 0 bytes")
    try:
        return _check(data, path)
    except BadImage as bad:
        repaired = repair(data) if bad.reason in ("damaged", "truncated") else None
        if repaired is None or repaired.data == data:
            raise
        try:
            accepted = _check(repaired.data, path)
        except BadImage:
            raise bad from None
        return replace(accepted, notes=(*accepted.notes, repaired.note))


def _check(data: bytes, path: str | None) -> _Accepted:
    picture = _open(data)
    with _refuse_on_error("damaged"):
        _refuse_by_header(picture, data)
        notes = [*_name_notes(picture, path), *_format_notes(picture)]
        _require_sound(picture, data)
        turn = _UPRIGHT.get(_orientation(picture))
        if turn is not None:
            picture = picture.transpose(turn)
            notes.append("rotated-by-exif")
        return _Accepted(data=data, picture=_to_gray_or_rgb(picture, notes), notes=tuple(notes))


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation; unreadable EXIF is ignored, as in any viewer."""
    try:
        value = picture.getexif().get(_ORIENTATION)
    except Exception:  # its parser raises many types, and the pixels are sound
        return 1
    return value if isinstance(value, int) else 1


def _open(data: bytes) -> Image.Image:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "truncated images would pass"
    with _refuse_on_error("damaged"):
        try:
            return Image.open(io.BytesIO(data), formats=_OPENED)
        except UnidentifiedImageError:
            raise _unidentified(data) from None


def _unidentified(data: bytes) -> BadImage:
    for container, beginnings in _BEGINNINGS.items():
        if data.startswith(beginnings):
            if container == "JPEG" and jpeg_markers.precision(data) > 8:
                bits = jpeg_markers.precision(data)
                return BadImage("more-than-8-bit", f"{bits} bits per channel; convert it to 8")
            return BadImage("damaged", f"it begins like {container}, but cannot be read")
    for other, beginnings in _UNSUPPORTED.items():
        if data.startswith(beginnings):
            return BadImage("unsupported-format", f"{other}; JPEG, PNG, WebP, BMP and TIFF are accepted")
    return BadImage("not-an-image", "its content is not a JPEG, PNG, WebP, BMP or TIFF image")


def _refuse_by_header(picture: Image.Image, data: bytes) -> None:
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
    """Return the bits per channel of the file; Pillow reduces 16-bit RGB without a warning."""
    if picture.mode in ("I", "F"):
        return 32
    if picture.mode.startswith("I;16"):
        return 16
    if picture.format == "PNG":
        return data[24]
    tags = getattr(picture, "tag_v2", None)
    bits = (8,) if tags is None else tags.get(_BITS_PER_SAMPLE, (1,))
    return int(max(bits)) if isinstance(bits, tuple) else int(bits)


def _name_notes(picture: Image.Image, path: str | None) -> list[str]:
    if path is None:
        return []
    suffix = PurePosixPath(path).suffix.lower()
    if not suffix:
        return ["no-suffix"]
    return [] if _SUFFIXES.get(suffix) == _FORMATS[str(picture.format)] else ["wrong-suffix"]


def _format_notes(picture: Image.Image) -> list[str]:
    if picture.format == "MPO":
        return ["multi-picture"]
    return [] if picture.format in ("JPEG", "PNG") else [f"from-{_FORMATS[str(picture.format)].lower()}"]


def _require_sound(picture: Image.Image, data: bytes) -> None:
    """Decode an image completely, and refuse damage that decoders hide by filling in pixels."""
    if picture.format in ("JPEG", "MPO"):
        _require_sound_jpeg(data)
        return
    picture.load()
    if picture.format == "PNG":
        png_chunks.require_whole(data, png_chunks.chunks(data))
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tiff_strips.require_whole(picture, data)
    if picture.mode == "P":
        _require_palette(picture)


def _require_sound_jpeg(data: bytes) -> None:
    """Decode a JPEG as training does: Pillow does not report the warnings of libjpeg."""
    jpeg_markers.require_all_scans(data, jpeg_markers.segments(data))
    try:
        decode_reduced(data, 8)  # parses all coded pixels, but computes few
    except UndecodableImageError as error:
        if "subsampling" in str(error) or "Unsupported" in str(error):
            raise BadImage("unsupported-format", f"a JPEG of a rare kind ({error}); save it again") from None
        raise


def _require_palette(picture: Image.Image) -> None:
    """Refuse pixels whose colour is not in the palette: decoders make them black."""
    assert picture.palette is not None
    colours = len(picture.palette.palette) // len(picture.palette.mode)
    extrema = picture.getextrema()
    if int(extrema[1]) >= colours:  # type: ignore[arg-type]
        raise BadImage("damaged", f"it uses colour {extrema[1]} of a palette of {colours}")


def _to_gray_or_rgb(picture: Image.Image, notes: list[str]) -> Image.Image:
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


def _target_size(size: tuple[int, int], stored_format: StoredFormat) -> tuple[int, int]:
    if stored_format.image_size is None:
        return size
    short, long = sorted(size)
    other = (long * stored_format.image_size + short // 2) // short
    if other * stored_format.image_size > MAX_PIXELS:
        raise BadImage("aspect-ratio", f"{size[0]} x {size[1]} would become {other} pixels long")
    return (stored_format.image_size, other) if size[0] <= size[1] else (other, stored_format.image_size)


def _encode(picture: Image.Image, encoding: str) -> bytes:
    bare = picture.copy()
    bare.info = {}  # profile, comment and orientation must not be stored with the pixels
    sink = io.BytesIO()
    if encoding == "jpeg":
        bare.save(sink, "JPEG", quality=95, subsampling=0)
    else:
        bare.save(sink, "PNG", compress_level=6)
    return sink.getvalue()
