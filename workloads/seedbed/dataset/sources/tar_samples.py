"""Samples of a tar file as WebDataset reads them: neighbouring members with one key, by their suffixes."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from seedbed.dataset.sources.storage_file import open_file
from seedbed.dataset.sources.table_file import DamagedTable, damage_of
from seedbed.storage import Storage

SUFFIXES = (".tar",)
_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
"""Key and suffix: the suffix begins at the first dot of the last part, as `1.input.jpg` of the key 1."""
SMALL_BYTES = 1 << 20
_MOST_HEADER_BYTES = 16 << 20
_BLOCK = 512
_COMPRESSED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"BZh": "bzip2", b"\xfd7zXZ": "xz"}


@dataclass(kw_only=True, slots=True)
class TarSample:
    """The members of one key."""

    key: str
    members: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Start and length of the bytes, by suffix in lower case."""
    values: dict[str, bytes] = field(default_factory=dict)
    """The bytes of small members that are no images, by suffix."""


def read_samples(storage: Storage, path: str, *, is_image: Any) -> Iterator[TarSample]:
    """Yield the samples of a tar file. Raises DamagedTable."""
    sample = TarSample(key="")
    for key, suffix, place, value in _members(storage, path, is_image):
        if key != sample.key:
            if sample.members:
                yield sample
            sample = TarSample(key=key)
        if suffix in sample.members:
            raise DamagedTable(f"member {key}.{suffix} occurs twice")
        sample.members[suffix] = place
        if value is not None:
            sample.values[suffix] = value
    if sample.members:
        yield sample


def _members(
    storage: Storage, path: str, is_image: Any
) -> Iterator[tuple[str, str, tuple[int, int], bytes | None]]:
    file = _BoundedReads(open_file(storage, path))
    try:
        _require_tar(file)
        with tarfile.open(fileobj=file, mode="r:") as tar:  # type: ignore[call-overload]
            for member in _headers(tar):
                parts = _NAME.fullmatch(member.name)
                if parts is None or member.isdir() or _is_meta(member.name):
                    continue
                _require_plain(member)
                suffix, value = parts[2].lower(), None
                if not is_image(suffix):
                    value = _small_value(tar, member)
                yield parts[1], suffix, (member.offset_data, member.size), value
            _require_end(tar, file)
    except (tarfile.TarError, OSError, ValueError, OverflowError) as error:
        raise damage_of(error, "tar") from None


def _headers(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield all members; a tar file object keeps those it has seen, which are too many."""
    while (member := tar.next()) is not None:
        yield member
        tar.members = []  # type: ignore[attr-defined]


def _is_meta(name: str) -> bool:
    last = name.rpartition("/")[2]
    return last.startswith((".", "__"))


def _require_plain(member: tarfile.TarInfo) -> None:
    if not member.isreg() or member.issparse():
        kind = "a link" if member.islnk() or member.issym() else "no plain file"
        raise DamagedTable(f"member {member.name} is {kind}")


def _small_value(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes | None:
    if member.size > SMALL_BYTES:
        return None
    found = tar.extractfile(member)
    data = found.read() if found is not None else b""
    if len(data) < member.size:
        raise tarfile.ReadError("unexpected end of data")
    return data


def _require_tar(file: _BoundedReads) -> None:
    head = file.read(_BLOCK)
    file.seek(0)
    for magic, name in _COMPRESSED.items():
        if head.startswith(magic):
            raise DamagedTable(f"it is compressed ({name}); decompress it: images are compressed already")


def _require_end(tar: tarfile.TarFile, file: _BoundedReads) -> None:
    """Refuse a file that ends without a mark, or goes on with something else: it was cut, or is damaged."""
    file.seek(tar.offset)
    block = file.read(_BLOCK)
    if len(block) < _BLOCK:
        raise tarfile.ReadError("it ends without an end mark")
    if block.strip(b"\0"):
        raise tarfile.ReadError(f"there is no header at byte {tar.offset}")


class _BoundedReads:
    """A file of which nobody reads much at once: headers of a tar say how long their texts are."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MOST_HEADER_BYTES:
            raise tarfile.ReadError(f"a header has {size:,} bytes")
        data: bytes = self._file.read(size)
        return data
