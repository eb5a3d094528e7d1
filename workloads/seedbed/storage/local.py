"""Local files, written so that a kill at any moment leaves either the old object, the new one, or none.

Data goes to a temporary name in the same folder, is synced, and gets its name by link (exclusive) or rename.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from seedbed.storage.errors import of_local, short_read_checked
from seedbed.storage.urls import relative

ASIDE = ".seedbed-aside-"
"""Prefix of temporary names; such files are no objects."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStorage:
    """A folder of this machine, or of a network file system with hard links."""

    root: Path
    """Absolute; it need not exist before the first write."""

    @property
    def url(self) -> str:
        """Return the folder as a `file://` URL."""
        return f"file://{self.root}"

    def read(self, path: str) -> bytes:
        """Return the whole object."""
        with self._reading(path) as file:
            return file.read_bytes()

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`; `ShortRead` where the object ends before."""
        with self._reading(path) as file:
            handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = _pread_all(handle, start, length)
            finally:
                os.close(handle)
        return short_read_checked(data, shown=f"{self.url}/{path}", start=start, length=length)

    def exists(self, path: str) -> bool:
        """Say whether a file is there."""
        return self._file(path).is_file()

    def size(self, path: str) -> int:
        """Return the size of the file in bytes."""
        with self._reading(path) as file:
            if not file.is_file():
                raise FileNotFoundError(2, "no such object", f"{self.url}/{path}")
            return file.stat().st_size

    def list(self, prefix: str = "") -> list[str]:
        """Return the files below the folder `prefix`, sorted; links to folders are followed once."""
        top = self._file(prefix) if prefix.strip("/") else self.root
        return sorted(path for path in _walk(self.root, top) if not _is_aside(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a new file, all or nothing; False where the name is taken."""
        target = self._file(path)
        if target.exists():
            return False
        return self._write(target, data, _link)

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file, all or nothing."""
        self._write(self._file(path), data, _replace)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        try:
            self._file(path).unlink(missing_ok=True)
        except OSError as error:
            raise of_local(error, shown=f"{self.url}/{path}", writing=True) from error

    def child(self, path: str) -> LocalStorage:
        """Return the storage of a folder below."""
        return LocalStorage(root=self._file(path.strip("/")))

    def _file(self, path: str) -> Path:
        return self.root / relative(path)

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[Path]:
        try:
            yield self._file(path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(2, "no such object", f"{self.url}/{path}") from None
        except OSError as error:
            raise of_local(error, shown=f"{self.url}/{path}", writing=False) from error

    def _write(self, target: Path, data: bytes, publish: Callable[[Path, Path], bool]) -> bool:
        aside = target.with_name(f"{ASIDE}{secrets.token_hex(8)}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write_synced(aside, data)
                published = publish(aside, target)
            finally:
                aside.unlink(missing_ok=True)
            _sync_folder(target.parent)
        except OSError as error:
            raise of_local(error, shown=f"file://{target}", writing=True) from error
        return published


def _write_synced(aside: Path, data: bytes) -> None:
    with aside.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _link(aside: Path, target: Path) -> bool:
    try:
        os.link(aside, target)
    except FileExistsError:
        return False
    return True


def _replace(aside: Path, target: Path) -> bool:
    aside.replace(target)
    return True


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _pread_all(handle: int, start: int, length: int) -> bytes:
    """Read until the range is full or the file ends; the kernel returns at most 2 GiB at once."""
    data = os.pread(handle, length, start)
    if len(data) == length or not data:
        return data
    return data + _pread_all(handle, start + len(data), length - len(data))


def _walk(root: Path, top: Path) -> Iterator[str]:
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(top, followlinks=True):
        status = os.stat(folder)  # noqa: PTH116 - a path of os.walk
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        base = os.path.relpath(folder, root)
        yield from files if base == "." else (f"{base}/{name}" for name in files)


def _is_aside(path: str) -> bool:
    return path.rpartition("/")[2].startswith(ASIDE)
