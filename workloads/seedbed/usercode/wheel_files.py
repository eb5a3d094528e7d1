"""Wheel files of pure Python (PEP 427): written deterministically, validated when read.

Rejects wheels with a platform tag, native code or dependencies: nothing is resolved or compiled at run time.
"""

from __future__ import annotations

import base64
import hashlib
import io
import stat
import struct
import zipfile
import zlib
from email.parser import Parser

from seedbed.usercode.source_digest import MAX_BYTES, SourceFiles, check_files
from seedbed.usercode.user_error_messages import model_error

_DIST_INFO = "seedbed_usercode-0.dist-info"
_WHEEL = b"Wheel-Version: 1.0\nGenerator: seedbed\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
    OverflowError,
    LookupError,
    ValueError,
)
"""What zipfile raises for damaged files; an encrypted one is a RuntimeError."""
_MOST_FILES = 10_000
_EPOCH = (1980, 1, 1, 0, 0, 0)


def pack_wheel(sources: SourceFiles) -> bytes:
    """Return a wheel of the sources: the same bytes for the same files on every machine."""
    files = dict(sources.files) | {
        f"{_DIST_INFO}/METADATA": b"Metadata-Version: 2.1\nName: seedbed-usercode\nVersion: 0\n",
        f"{_DIST_INFO}/WHEEL": _WHEEL,
    }
    lines = [f"{path},sha256={_record_hash(files[path])},{len(files[path])}" for path in sorted(files)]
    files[f"{_DIST_INFO}/RECORD"] = "\n".join([*lines, f"{_DIST_INFO}/RECORD,,", ""]).encode()
    packed = io.BytesIO()
    # stored, not deflated: compressed bytes depend on the version of zlib
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for path in sorted(files):
            entry = zipfile.ZipInfo(path, date_time=_EPOCH)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            archive.writestr(entry, files[path])
    return packed.getvalue()


def read_wheel(content: bytes, *, name: str) -> SourceFiles:
    """Return the source files of a wheel, without its dist-info. Raises UserError if it cannot be run."""
    try:
        files = _unzipped(content, name=name)
    except _DAMAGE as error:
        raise model_error(
            "code.uri", name, "is no wheel", "build one with `pip wheel --no-deps .`"
        ) from error
    info = _dist_info(files, name=name)
    _check_tag(files.get(f"{info}/WHEEL", b"").decode("utf-8", "replace"), name=name)
    _check_dependencies(files.get(f"{info}/METADATA", b"").decode("utf-8", "replace"), name=name)
    sources = {path: data for path, data in files.items() if not path.startswith(f"{info}/")}
    return check_files(name, sources)


def _unzipped(content: bytes, *, name: str) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        if len(entries) > _MOST_FILES:
            problem = f"has {len(entries)} files, more than {_MOST_FILES}"
            raise model_error("code.uri", name, problem, "keep data out of the wheel")
        if sum(entry.file_size for entry in entries) > MAX_BYTES:
            raise model_error("code.uri", name, "unpacks to more than 16 MiB", "keep data out of the wheel")
        if len({entry.filename for entry in entries}) < len(entries):
            raise model_error("code.uri", name, "has two files of one name", "build the wheel anew")
        return {entry.filename: _read_entry(archive, entry, name=name) for entry in entries}


def _read_entry(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, name: str) -> bytes:
    """Return a file; never more bytes are inflated than its entry states."""
    if stat.S_ISLNK(entry.external_attr >> 16):
        raise model_error("code.uri", name, f"holds a link: {entry.filename}", "put the file itself into it")
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        problem = f"has a file of another compression: {entry.filename}"
        raise model_error("code.uri", name, problem, "build one with `pip wheel --no-deps .`")
    with archive.open(entry) as file:
        data = file.read(entry.file_size)
        if len(data) < entry.file_size or file.read(1):
            raise zipfile.BadZipFile(f"{entry.filename} has another size than its entry")
    return data


def _dist_info(files: dict[str, bytes], *, name: str) -> str:
    found = {path.partition("/")[0] for path in files if path.partition("/")[0].endswith(".dist-info")}
    if len(found) != 1:
        raise model_error(
            "code.uri", name, "is no wheel: it needs one .dist-info", "build it with `pip wheel`"
        )
    return found.pop()


def _check_tag(text: str, *, name: str) -> None:
    fields = Parser().parsestr(text)
    tags = fields.get_all("Tag") or []
    pure = (fields.get("Root-Is-Purelib") or "").strip().lower() == "true"
    if not pure or not any(tag.strip().endswith("-none-any") for tag in tags):
        problem = f"is a platform wheel ({', '.join(tags) or 'no tag'})"
        raise model_error("code.uri", name, problem, "ship pure Python (py3-none-any), or an image")


def _check_dependencies(text: str, *, name: str) -> None:
    needed = Parser().parsestr(text).get_all("Requires-Dist") or []
    required = [line for line in needed if "extra ==" not in line.replace("extra==", "extra ==")]
    if required:
        problem = f"has dependencies ({', '.join(required)[:100]}), none are installed at run time"
        raise model_error("code.uri", name, problem, "put them into the image and drop them from the wheel")


def _record_hash(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
