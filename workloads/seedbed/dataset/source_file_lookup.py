"""Read a source file by its listed path, or by another spelling of that path."""

from __future__ import annotations

import posixpath
import unicodedata
from pathlib import PurePosixPath

from seedbed.images.image_conversion import BadImage
from seedbed.storage import DamagedObject, LocalStorage, Storage, UnreadableObject
from seedbed.storage.object_limits import SOURCE_IMAGE

_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")


def read_source_file(source: Storage, path: str) -> tuple[str, bytes]:
    """Return a listed file's bytes and the path at which it lies.

    If there is no such file, surrounding blanks, `./`, `//` and the Unicode form are ignored. `BadImage`
    where it is missing, or where no retry can read it.
    """
    try:
        for spelling in dict.fromkeys((path, *_spellings(path))):
            try:
                return spelling, source.read(spelling, SOURCE_IMAGE)
            except FileNotFoundError:
                continue
    except UnreadableObject as error:
        raise BadImage("unreadable", error.problem) from error
    except DamagedObject as error:
        raise BadImage("damaged", error.strerror or "the store finds it damaged") from error
    near = _similar_name(source, path)
    raise BadImage("missing-file", "the listed file does not exist" + (f"; {near!r} does" if near else ""))


def _spellings(path: str) -> list[str]:
    plain = posixpath.normpath(path.strip())
    return [form for form in (plain, *_forms(plain)) if _is_below(form)]


def _forms(path: str) -> tuple[str, str]:
    return unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)


def _is_below(path: str) -> bool:
    return not path.startswith("/") and ".." not in path.split("/")


def _similar_name(source: Storage, path: str) -> str | None:
    """Return a similar name for the message; it is another file, so it is not read."""
    if not isinstance(source, LocalStorage):
        return None
    slashed = posixpath.normpath(path.strip().replace("\\", "/"))
    below = slashed.partition("/")[2]
    others = (other for name in (slashed, below) if name for other in (name, *_other_suffixes(name)))
    return next((name for name in others if _is_below(name) and _exists(source, name)), None)


def _other_suffixes(path: str) -> list[str]:
    name = PurePosixPath(path)
    if not name.name:
        return []
    return [path + suffix for suffix in _SUFFIXES] + [str(name.with_suffix(suffix)) for suffix in _SUFFIXES]


def _exists(source: Storage, path: str) -> bool:
    try:
        return source.exists(path)
    except UnreadableObject:
        return False
