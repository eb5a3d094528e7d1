"""Inspect source images and normalise them to what is stored: 8-bit JPEG or PNG, gray or RGB, upright.

`normalise` returns bytes that all decoders read alike, with notes on what was changed, or refuses a file with
a reason. Colours that need a profile, more than 8 bits and several frames are refused, as they would be lost.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from PIL import Image, ImageFile, TiffImagePlugin, UnidentifiedImageError

from seedbed.images import jpeg_markers, png_chunks, tiff_strips
from seedbed.images.conversions import Conversions, high_bits, is_reducible, on_background
from seedbed.images.image_decoder import MAX_PIXELS, UndecodableImageError, decode_cmyk, decode_reduced
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
    "GIF": "GIF",
}
_OPENED = tuple(name for name in _FORMATS if name not in ("MPO", "GIF"))
"""Pillow's plug-ins that may open a source; its JPEG plug-in recognises MPO, and GIF is mostly frames."""
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
_LOSSY_MODES = ("CMYK", "I;16", "I;16B", "I;16L", "I;16N")
"""Modes that are read where a conversion was asked for."""
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
    conversions: Conversions = field(default_factory=Conversions)
    """What may be lost."""


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
    accepted = _accept(data, path, stored_format.conversions)
    if not accepted.changes(stored_format):
        return accepted.kept()
    picture = accepted.picture
    width, height = _target_size(picture.size, stored_format)
    return Inspection(image=None, weight=width * height * len(picture.getbands()) // 2, notes=accepted.notes)


def normalise(data: bytes, path: str | None, stored_format: StoredFormat) -> Inspection:
    """Return the bytes to store for a source; raises `BadImage` exactly where `inspect` does."""
    accepted = _accept(data, path, stored_format.conversions)
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


def _accept(data: bytes, path: str | None, asked: Conversions) -> _Accepted:
    """Check a source; a damaged one is checked again without its metadata and stray bytes."""
    if not data:
        raise BadImage("empty-file", "the file has 0 bytes")
    try:
        return _check(data, path, asked)
    except BadImage as bad:
        repaired = repair(data) if bad.reason in ("damaged", "truncated") else None
        if repaired is None or repaired.data == data:
            raise
        try:
            accepted = _check(repaired.data, path, asked)
        except BadImage:
            raise bad from None
        return replace(accepted, notes=(*accepted.notes, repaired.note))


def _check(data: bytes, path: str | None, asked: Conversions) -> _Accepted:
    picture = _open(data, asked)
    with _refuse_on_error("damaged"):
        lost = _losses_by_header(picture, data, asked)
        notes = [*_name_notes(picture, path), *_format_notes(picture)]
        notes += lost
        _require_sound(picture, data)
        picture = _without_depth(picture, data, lost)
        turn = _UPRIGHT.get(_orientation(picture))
        if turn is not None:
            picture = picture.transpose(turn)
            notes.append("rotated-by-exif")
        return _Accepted(data=data, picture=_to_gray_or_rgb(picture, notes, asked), notes=tuple(notes))


def _orientation(picture: Image.Image) -> int:
    """Return the EXIF orientation; unreadable EXIF is ignored, as in any viewer."""
    try:
        value = picture.getexif().get(_ORIENTATION)
    except Exception:  # its parser raises many types, and the pixels are sound
        return 1
    return value if isinstance(value, int) else 1


def _open(data: bytes, asked: Conversions) -> Image.Image:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES, "truncated images would pass"
    with _refuse_on_error("damaged"):
        try:
            return Image.open(io.BytesIO(data), formats=(*_OPENED, "GIF") if asked.frames else _OPENED)
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


def _losses_by_header(picture: Image.Image, data: bytes, asked: Conversions) -> list[str]:
    """Return what will be lost, as it was asked for; `BadImage` for what was not."""
    (width, height), lost = picture.size, []
    if width * height > MAX_PIXELS:
        raise BadImage("decompression-bomb", f"{width} x {height} pixels, more than {MAX_PIXELS}")
    frames = getattr(picture, "n_frames", 1)
    checks = (
        ("animated", picture.format != "MPO" and frames > 1, asked.frames, "first-frame"),
        ("cmyk", picture.mode == "CMYK", asked.cmyk, "cmyk-converted"),
        (
            "more-than-8-bit",
            _bits(picture, data) > 8,
            asked.depth and is_reducible(picture),
            "depth-reduced",
        ),
    )
    details = {
        "animated": f"{frames} frames; --frames first takes one",
        "cmyk": "converting CMYK needs a colour profile; convert it to RGB, or add --cmyk convert",
        "more-than-8-bit": f"{_bits(picture, data)} bits per channel; convert it to 8, or add --depth 8",
    }
    for reason, found, wanted, note in checks:
        if found and not wanted:
            raise BadImage(reason, details[reason])
        lost += [note] if found else []
    if picture.mode not in (*_MODES, *_LOSSY_MODES):
        raise BadImage("colour-space", f"mode {picture.mode}; convert it to RGB or gray")
    return lost


def _without_depth(picture: Image.Image, data: bytes, lost: list[str]) -> Image.Image:
    if "depth-reduced" in lost:
        picture = high_bits(picture, _bits(picture, data))
    return picture.convert("RGB") if picture.mode == "CMYK" else picture


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
    if suffix == ".gif" and picture.format == "GIF":
        return []
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
        _require_sound_jpeg(data, cmyk=picture.mode == "CMYK")
        return
    picture.load()
    if picture.format == "PNG":
        png_chunks.require_whole(data, png_chunks.chunks(data))
    if isinstance(picture, TiffImagePlugin.TiffImageFile):
        tiff_strips.require_whole(picture, data)
    if picture.mode == "P":
        _require_palette(picture)


def _require_sound_jpeg(data: bytes, *, cmyk: bool) -> None:
    """Decode a JPEG as training does: Pillow does not report the warnings of libjpeg."""
    jpeg_markers.require_all_scans(data, jpeg_markers.segments(data))
    try:
        if cmyk:
            decode_cmyk(data)  # training will decode the PNG of it
        else:
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


def _to_gray_or_rgb(picture: Image.Image, notes: list[str], asked: Conversions) -> Image.Image:
    """Return mode L or RGB without loss, or refuse what would lose transparency."""
    if picture.mode in _ALPHA or "transparency" in picture.info:
        picture, note = _without_alpha(picture, asked.alpha)
        notes.append(note)
    if picture.mode in ("P", "1"):
        notes.append("palette-expanded" if picture.mode == "P" else "bilevel-expanded")
        return picture.convert("RGB" if picture.mode == "P" else "L")
    return picture


def _without_alpha(picture: Image.Image, background: str | None) -> tuple[Image.Image, str]:
    """Return an image without its alpha, and the note about it."""
    full = picture.convert("RGBA")
    gray = picture.mode in ("1", "L", "LA", "La")
    if full.getchannel("A").getextrema() == (255, 255):
        return full.convert("L" if gray else "RGB"), "opaque-alpha-dropped"
    if background is None:
        problem = "it has transparent pixels; put it on a background first, or add --alpha white"
        raise BadImage("alpha", problem)
    flat = on_background(full, background)
    red, green, blue = flat.split()
    keeps_gray = gray and red.tobytes() == green.tobytes() == blue.tobytes()
    return red if keeps_gray else flat, f"alpha-on-{background}"


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
