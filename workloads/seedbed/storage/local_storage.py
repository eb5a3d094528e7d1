"""Objects in a local folder: written atomically, so that a kill leaves the old object, the new one, or none.

Data goes to a temporary file of the same folder, is synced, and gets its name by a hard link (exclusive) or
by rename. A new object has no temporary name where the file system supports that, so a kill leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedWriter
from pathlib import Path

from seedbed.storage.storage_errors import local_error, require_full_range, unreadable
from seedbed.storage.storage_urls import require_relative
from seedbed.storage.tree_walk import walk

TEMPORARY_PREFIX = ".seedbed-aside-"
"""Prefix of temporary names, as in all versions; such files are not listed as objects."""

_NO_UNNAMED_FILES = frozenset({errno.EISDIR, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT})
_SPECIAL = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStorage:
    """A folder of this machine, or of a network file system with hard links."""

    root: Path
    """Absolute; it need not exist before the first write."""
    shown: str | None = None
    """The URL to print where it is not the path: that of a volume claim."""

    @property
    def url(self) -> str:
        """Return the folder as a `file://` URL, or as its volume claim."""
        return self.shown or f"file://{self.root}"

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
        return require_full_range(data, shown=f"{self.url}/{path}", start=start, length=length)

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        try:
            with self._reading(path):
                return True
        except FileNotFoundError:
            return False

    def size(self, path: str) -> int:
        """Return the size of the file in bytes."""
        with self._reading(path) as file:
            return file.stat().st_size

    def list(self, prefix: str = "") -> list[str]:
        """Return the files below the folder `prefix`, sorted; links to folders are followed (`tree_walk`).

        A missing folder has no files; a folder that cannot be read is an error.
        """
        prefix = require_relative(prefix.strip("/")) if prefix.strip("/") else ""
        return sorted(self._listed(prefix))

    def _listed(self, prefix: str) -> Iterator[str]:
        for entry in walk(self.root, prefix):
            if entry.is_folder and entry.error is not None:
                shown = f"file://{self.root / entry.path}"
                raise local_error(entry.error, shown=shown, writing=False) from entry.error
            if not entry.is_folder and not _is_temporary(entry.path):
                yield entry.path

    def create(self, path: str, data: bytes) -> bool:
        """Write a new file, all or nothing; False where the name is taken."""
        target = self._file(path)
        with _writing(target):
            if target.exists():
                return False
            target.parent.mkdir(parents=True, exist_ok=True)
            with _open_folder(target.parent) as folder:
                created = _create_unnamed(folder, target, data)
                if created is None:
                    created = _create_named(target, data)
                os.fsync(folder)
        return created

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file, all or nothing."""
        target = self._file(path)
        with _writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with _open_folder(target.parent) as folder:
                with _temporary_file(target, data) as temporary:
                    temporary.replace(target)
                os.fsync(folder)

    def delete(self, path: str) -> None:
        """Remove a file if it is there."""
        try:
            self._file(path).unlink(missing_ok=True)
        except OSError as error:
            raise local_error(error, shown=f"{self.url}/{path}", writing=True) from error

    def child(self, path: str) -> LocalStorage:
        """Return the storage of a folder below."""
        shown = None if self.shown is None else f"{self.shown.rstrip('/')}/{path.strip('/')}"
        return LocalStorage(root=self._file(path.strip("/")), shown=shown)

    def _file(self, path: str) -> Path:
        return self.root / require_relative(path)

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[Path]:
        """Yield the path of a file that can be opened without waiting for another process."""
        shown = f"{self.url}/{path}"
        try:
            file = self._file(path)
            _require_regular(file.stat().st_mode, shown)
            yield file
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise FileNotFoundError(2, "no such object", shown) from None
        except OSError as error:
            raise local_error(error, shown=shown, writing=False) from error


def _require_regular(mode: int, shown: str) -> None:
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", shown)
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _SPECIAL if is_kind(mode)), "special file")
        raise unreadable(shown, f"is a {kind}, no regular file", "remove it")


@contextlib.contextmanager
def _writing(target: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise local_error(error, shown=f"file://{target}", writing=True) from error


@contextlib.contextmanager
def _open_folder(folder: Path) -> Iterator[int]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield handle
    finally:
        os.close(handle)


def _create_unnamed(folder: int, target: Path, data: bytes) -> bool | None:
    """Write a file that has no name until it is complete; None where that is not supported."""
    if not hasattr(os, "O_TMPFILE"):
        return None
    try:
        handle = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o666, dir_fd=folder)
    except OSError as error:
        if error.errno in _NO_UNNAMED_FILES:
            return None
        raise
    with os.fdopen(handle, "wb") as file:
        _write_synced(file, data)
        # An absolute source needs no handle of a folder, but with one os.link follows it to the open file.
        return _link(lambda: os.link(f"/proc/self/fd/{handle}", target, src_dir_fd=folder))


def _create_named(target: Path, data: bytes) -> bool:
    with _temporary_file(target, data) as temporary:
        return _link(lambda: os.link(temporary, target))


@contextlib.contextmanager
def _temporary_file(target: Path, data: bytes) -> Iterator[Path]:
    """Write data to a temporary name beside the target; remove that name when the block ends."""
    temporary = target.with_name(f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}")
    try:
        with temporary.open("xb") as file:
            _write_synced(file, data)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _write_synced(file: BufferedWriter, data: bytes) -> None:
    file.write(data)
    file.flush()
    os.fsync(file.fileno())


def _link(link: Callable[[], None]) -> bool:
    try:
        link()
    except FileExistsError:
        return False
    return True


def _pread_all(handle: int, start: int, length: int) -> bytes:
    """Read until the range is full or the file ends; the kernel returns at most 2 GiB at once."""
    data = os.pread(handle, length, start)
    if len(data) == length or not data:
        return data
    return data + _pread_all(handle, start + len(data), length - len(data))


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
