"""Files below a root, opened folder by folder, so that no symbolic link below the root is followed.

The root itself may be a link: it is what the user named. Each folder is opened relative to the one above it,
so a folder that is replaced by a link between two steps is refused too. Only regular files are opened, and
opening never waits: not for the other end of a FIFO, and not for the holder of a lease on a file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOOK = getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC
"""Without the right to list a folder, and without the effects that opening a device has."""
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_SPECIAL = (
    (stat.S_ISFIFO, "FIFO"),
    (stat.S_ISSOCK, "socket"),
    (stat.S_ISCHR, "device"),
    (stat.S_ISBLK, "device"),
)


class LinkInPath(OSError):  # noqa: N818 - named like the OSErrors of Python
    """A symbolic link lies where only files and folders may lie; `filename` is its path below the root."""

    def __init__(self, link: str) -> None:
        super().__init__(errno.ELOOP, "is a symbolic link", link)


class SpecialFile(OSError):  # noqa: N818 - as above
    """A FIFO, a socket or a device lies where a regular file is expected; `kind` says which."""

    def __init__(self, kind: str, name: str) -> None:
        super().__init__(errno.EINVAL, f"is a {kind}, no regular file", name)
        self.kind = kind


@contextlib.contextmanager
def open_folder(root: Path, parts: Sequence[str], *, create: bool = False) -> Iterator[int]:
    """Yield a handle of the folder `parts` below `root`, for functions that take a `dir_fd`.

    `create` makes the folders that are missing. Raises LinkInPath and other OSErrors.
    """
    if create:
        _make_root(root)
    handle = os.open(root, _LOOK | os.O_DIRECTORY)
    try:
        for number, part in enumerate(parts, 1):
            below = _open_below(handle, part, shown="/".join(parts[:number]), create=create)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def _make_root(root: Path) -> None:
    try:
        root.mkdir(parents=True, exist_ok=True)
    except FileExistsError:  # of a file that has the name
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(root)) from None


def _open_below(folder: int, name: str, *, shown: str, create: bool) -> int:
    flags = _LOOK | os.O_DIRECTORY | os.O_NOFOLLOW
    try:
        return os.open(name, flags, dir_fd=folder)
    except FileNotFoundError:
        if not create:
            raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
        return _open_below(folder, name, shown=shown, create=False)
    except OSError as error:
        if error.errno in (errno.ENOTDIR, errno.ELOOP) and is_link(name, folder):
            raise LinkInPath(shown) from None
        raise


def is_link(name: str, folder: int) -> bool:
    """Return whether a name in an open folder is a symbolic link."""
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def open_regular(path: Path | str, *, folder: int | None = None, look: bool = False) -> Iterator[int]:
    """Yield a handle of a regular file; `look` is for its status alone, which needs no right to read it.

    With a `folder` the path is a name in it, and no link is followed. Raises SpecialFile, LinkInPath (only in
    a folder), IsADirectoryError and other OSErrors.
    """
    with _open_checked(path, _LOOK, folder=folder) as handle:
        if look:
            yield handle
            return
    with _open_checked(path, _READ, folder=folder) as handle:
        yield handle


@contextlib.contextmanager
def _open_checked(path: Path | str, flags: int, *, folder: int | None) -> Iterator[int]:
    handle = os.open(path, flags | (0 if folder is None else os.O_NOFOLLOW), dir_fd=folder)
    try:
        require_regular(handle, str(path))
        yield handle
    finally:
        os.close(handle)


def require_regular(handle: int, name: str) -> None:
    """Raise an OSError where an open handle is not that of a regular file."""
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, "is a folder", name)
    if stat.S_ISLNK(mode):
        raise LinkInPath(name)
    if not stat.S_ISREG(mode):
        raise SpecialFile(next((kind for is_kind, kind in _SPECIAL if is_kind(mode)), "special file"), name)
