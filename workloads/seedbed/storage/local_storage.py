"""Objects in a local folder: written atomically, so that a kill leaves the old object, the new one, or none.

Data goes to a temporary file of the same folder, is synced, and gets its name by a hard link (exclusive) or
by rename. A new object has no temporary name where the file system supports that, so a kill leaves nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from io import BufferedReader, BufferedWriter
from pathlib import Path, PurePosixPath

from seedbed.storage.folder_handles import LinkInPath, SpecialFile, open_folder, open_regular
from seedbed.storage.object_limits import DOCUMENT, ObjectLimit
from seedbed.storage.storage_errors import (
    OversizedObject,
    linked,
    local_error,
    require_full_range,
    unreadable,
)
from seedbed.storage.storage_urls import require_relative
from seedbed.storage.tree_walk import walk

TEMPORARY_PREFIX = ".seedbed-aside-"
"""Prefix of temporary names, as in all versions; such files are not listed as objects."""

_PIECE_BYTES = 1 << 20
_NO_UNNAMED_FILES = frozenset({errno.EISDIR, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOENT})


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalStorage:
    """A folder of this machine, or of a network file system with hard links.

    Writing and deleting follow no symbolic link below the folder that the user named. Reading does, as images
    and datasets may be linked; but not in a store (`follow_links` is false), and never out of `boundary`.
    """

    root: Path
    """Absolute; it need not exist before the first write."""
    shown: str | None = None
    """The URL to print where it is not the path: that of a volume claim."""
    named: Path | None = None
    """The folder that the user named, which may be a link; `root`, or above it. Default: `root`."""
    boundary: Path | None = None
    """The mounted volume claim that no link may lead out of."""
    follow_links: bool = True

    @property
    def url(self) -> str:
        """Return the folder as a `file://` URL, or as its volume claim."""
        return self.shown or f"file://{self.root}"

    def read(self, path: str, limit: ObjectLimit = DOCUMENT) -> bytes:
        """Return the whole object."""
        with self._reading(path) as handle, os.fdopen(os.dup(handle), "rb") as file:
            size = os.fstat(handle).st_size
            if size <= limit.most_bytes:
                data = _read_growing(file, size, most=limit.most_bytes)
                size = max(size, len(data))
            if size > limit.most_bytes:
                raise OversizedObject(f"{self.url}/{path}", size, limit)
            return data

    def read_range(self, path: str, start: int, length: int) -> bytes:
        """Return `length` bytes from `start`; `ShortRead` where the object ends before."""
        with self._reading(path) as handle:
            data = _pread_all(handle, start, length)
        return require_full_range(data, shown=f"{self.url}/{path}", start=start, length=length)

    def exists(self, path: str) -> bool:
        """Return whether a file is there."""
        try:
            with self._reading(path, look=True):
                return True
        except FileNotFoundError:
            return False

    def size(self, path: str) -> int:
        """Return the size of the file in bytes."""
        with self._reading(path, look=True) as handle:
            return os.fstat(handle).st_size

    def list(self, prefix: str = "") -> list[str]:
        """Return the files below the folder `prefix`, sorted.

        Links to folders are followed (`tree_walk`), or in a store listed like files. A missing folder has no
        files; a folder that cannot be read is an error.
        """
        prefix = require_relative(prefix.strip("/")) if prefix.strip("/") else ""
        follow = self.follow_links and self.boundary is None
        if not follow and not self._has_folder(prefix):
            return []
        return sorted(self._listed(prefix, follow=follow))

    def _has_folder(self, prefix: str) -> bool:
        try:
            with _translated(f"{self.url}/{prefix}", writing=False), self._folder(prefix):
                return True
        except FileNotFoundError:
            return False

    def _listed(self, prefix: str, *, follow: bool) -> Iterator[str]:
        for entry in walk(self.root, prefix, follow=follow):
            if entry.is_folder and entry.error is not None:
                shown = f"file://{self.root / entry.path}"
                raise local_error(entry.error, shown=shown, writing=False) from entry.error
            if not entry.is_folder and not _is_temporary(entry.path):
                yield entry.path

    def create(self, path: str, data: bytes) -> bool:
        """Write a new file, all or nothing; False where the name is taken."""
        with self._writing(path) as (folder, name):
            if _is_taken(name, folder):
                return False
            created = _create_unnamed(folder, name, data)
            if created is None:
                created = _create_named(folder, name, data)
            _sync_folder(folder)
        return created

    def put(self, path: str, data: bytes) -> None:
        """Write or replace a file, all or nothing; a link of that name is replaced, not followed."""
        with self._writing(path) as (folder, name):
            with _temporary_file(folder, data) as temporary:
                os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
            _sync_folder(folder)

    def delete(self, path: str) -> None:
        """Remove a file if it is there; of a link, the link itself."""
        above, _, name = self._relative(path).rpartition("/")
        with (
            _translated(f"{self.url}/{path}", writing=True),
            contextlib.suppress(FileNotFoundError),
            self._folder(above) as folder,
        ):
            os.unlink(name, dir_fd=folder)

    def child(self, path: str) -> LocalStorage:
        """Return the storage of a folder below."""
        shown = None if self.shown is None else f"{self.shown.rstrip('/')}/{path.strip('/')}"
        root = self.root / require_relative(path.strip("/"))
        return replace(self, root=root, shown=shown, named=self.named or self.root)

    def _relative(self, path: str) -> str:
        return str(PurePosixPath(require_relative(path)))

    @contextlib.contextmanager
    def _folder(self, path: str, *, create: bool = False) -> Iterator[int]:
        """Yield a handle of the folder `path`; no link below the named folder, or the claim, is followed."""
        top = self.named or self.root
        parts = (self.root / path).relative_to(top).parts
        if self.boundary is not None:
            parts = (*_parts_within(top, self.boundary, self.url), *parts)
            top = self.boundary
        with open_folder(top, parts, create=create) as handle:
            yield handle

    @contextlib.contextmanager
    def _reading(self, path: str, *, look: bool = False) -> Iterator[int]:
        """Yield a handle of a regular file, opened without waiting for another process."""
        shown = f"{self.url}/{path}"
        with _translated(shown, writing=False):
            relative = self._relative(path)
            if self.follow_links and self.boundary is None:
                with open_regular(self.root / relative, look=look) as handle:
                    yield handle
                return
            with (
                self._folder_of(relative) as (folder, name),
                open_regular(name, folder=folder, look=look) as handle,
            ):
                yield handle

    @contextlib.contextmanager
    def _folder_of(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the folder of a file to read, and its name; links are followed within a claim alone."""
        if self.boundary is not None and self.follow_links:
            *above, name = _parts_within(self.root / path, self.boundary, self.url) or [""]
            with open_folder(self.boundary, above) as folder:
                yield folder, name
            return
        above_it, _, name = path.rpartition("/")
        with self._folder(above_it) as folder:
            yield folder, name

    @contextlib.contextmanager
    def _writing(self, path: str) -> Iterator[tuple[int, str]]:
        """Yield the folder of a file to write, made where it is missing, and the file's name."""
        above, _, name = self._relative(path).rpartition("/")
        shown = f"file://{self.root / path}"
        with _translated(shown, writing=True), self._folder(above, create=True) as folder:
            yield folder, name


def _parts_within(path: Path, boundary: Path, shown: str) -> tuple[str, ...]:
    """Return where a path lies below a claim once its links are followed. UserError where they lead out."""
    real, top = Path(os.path.realpath(path)), Path(os.path.realpath(boundary))
    if not real.is_relative_to(top):
        raise unreadable(shown, "leads out of its volume claim through a symbolic link", "remove the link")
    return real.relative_to(top).parts


@contextlib.contextmanager
def _translated(shown: str, *, writing: bool) -> Iterator[None]:
    """Raise the errors of a storage instead of those of the system."""
    try:
        yield
    except LinkInPath as error:
        raise linked(shown, str(error.filename), writing=writing) from error
    except SpecialFile as error:
        raise unreadable(shown, str(error.strerror), "remove it") from error
    except OSError as error:
        if not writing and isinstance(error, FileNotFoundError | IsADirectoryError | NotADirectoryError):
            raise FileNotFoundError(2, "no such object", shown) from None
        raise local_error(error, shown=shown, writing=writing) from error


def _is_taken(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _sync_folder(folder: int) -> None:
    """Sync a folder whose handle may be one to look at only."""
    handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create_unnamed(folder: int, name: str, data: bytes) -> bool | None:
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
        source = f"/proc/self/fd/{handle}"
        return _link(lambda: os.link(source, name, src_dir_fd=folder, dst_dir_fd=folder))


def _create_named(folder: int, name: str, data: bytes) -> bool:
    with _temporary_file(folder, data) as temporary:
        return _link(lambda: os.link(temporary, name, src_dir_fd=folder, dst_dir_fd=folder))


@contextlib.contextmanager
def _temporary_file(folder: int, data: bytes) -> Iterator[str]:
    """Write data to a temporary name in a folder; remove that name when the block ends."""
    temporary = f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o666, dir_fd=folder), "wb") as file:
            _write_synced(file, data)
        yield temporary
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=folder)


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


def _read_growing(file: BufferedReader, size: int, *, most: int) -> bytes:
    """Return the whole file, or more than `most` bytes of one that grows past that.

    `read(n)` takes n bytes of memory before it reads one, so it asks for the size that the file has.
    """
    pieces = [file.read(size + 1)]
    length = len(pieces[0])
    while pieces[-1] and size < length <= most:
        pieces.append(file.read(min(_PIECE_BYTES, most + 1 - length)))
        length += len(pieces[-1])
    return b"".join(pieces)


def _pread_all(handle: int, start: int, length: int) -> bytes:
    """Read until the range is full or the file ends; the kernel returns at most 2 GiB at once."""
    data = os.pread(handle, length, start)
    if len(data) == length or not data:
        return data
    return data + _pread_all(handle, start + len(data), length - len(data))


def _is_temporary(path: str) -> bool:
    return path.rpartition("/")[2].startswith(TEMPORARY_PREFIX)
