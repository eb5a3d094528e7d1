"""Walk a local folder tree; no file is opened.

Links to folders are followed wherever they are, or none is and each is an entry that is no folder. A link
back to a folder of its own path is a cycle and is left out. The result depends neither on the order in which
a disk lists entries, nor on where the walk begins.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from seedbed_api.errors import UserError, refusal

MOST_NESTED_LINKS = 5
"""Most linked folders on one path; where folders link to each other, paths multiply."""

_GONE = frozenset({errno.ENOENT, errno.ENOTDIR})
_Identity = tuple[int, int]


class Entry(NamedTuple):
    """A folder or file; with the error, where a folder cannot be listed or a link not followed."""

    path: str
    """Relative to the root of the walk."""
    is_folder: bool
    error: OSError | None = None


class _Folder(NamedTuple):
    path: str
    within: frozenset[_Identity]
    """The folder itself and those of its path, from the root on."""
    links: int
    """How many of them are links."""


def walk(
    root: Path, prefix: str = "", *, enters: Callable[[str], bool] = lambda _name: True, follow: bool = True
) -> Iterator[Entry]:
    """Yield the entries below `root/prefix`; `enters` decides by name which folders are walked.

    A folder that is removed meanwhile has no entries. `UserError` where the paths of linked folders multiply.
    """
    prefix = prefix.strip("/")
    try:
        waiting = [_Folder(prefix, _identities(root, prefix), 0)]
    except OSError as error:
        yield from _error_entry(prefix, error)
        return
    while waiting:
        folder = waiting.pop()
        below: list[_Folder] = []
        try:
            with os.scandir(root / folder.path) as entries:
                for entry in entries:
                    path = f"{folder.path}/{entry.name}" if folder.path else entry.name
                    is_folder, wanted = _is_folder(entry, follow=follow), enters(entry.name)
                    if is_folder and wanted:
                        below += _folders_to_walk(folder, entry, path)
                    else:
                        yield Entry(path, is_folder, _error_of_link(entry) if wanted and follow else None)
        except OSError as error:
            yield from _error_entry(folder.path, error)
            continue
        yield Entry(folder.path, is_folder=True)
        waiting += sorted(below, reverse=True)


def _identities(root: Path, prefix: str) -> frozenset[_Identity]:
    folders = [root, *(root / prefix).relative_to(root).parts] if prefix else [root]
    paths = (root.joinpath(*folders[1:length]) for length in range(1, len(folders) + 1))
    return frozenset(_identity(path.stat()) for path in paths)


def _identity(status: os.stat_result) -> _Identity:
    return status.st_dev, status.st_ino


def _is_folder(entry: os.DirEntry[str], *, follow: bool) -> bool:
    """Return whether an entry is a folder, or a link to one; what cannot be read is no folder here."""
    try:
        return entry.is_dir(follow_symlinks=follow)
    except OSError:
        return False


def _error_of_link(entry: os.DirEntry[str]) -> OSError | None:
    """Return why a link cannot be followed."""
    try:
        if entry.is_symlink():
            entry.stat()
    except OSError as error:
        return error
    return None


def _folders_to_walk(folder: _Folder, entry: os.DirEntry[str], path: str) -> Iterator[_Folder]:
    """Yield a folder to walk, unless it is gone or links back to a folder that contains it."""
    is_link = entry.is_symlink()
    try:
        identity = _identity(entry.stat())
    except FileNotFoundError:
        return
    if is_link and identity in folder.within:
        return
    links = folder.links + is_link
    if links > MOST_NESTED_LINKS:
        problem = f"lies within {MOST_NESTED_LINKS} more linked folders, which may link to each other"
        raise UserError("StorageRefused", refusal("uri", path, problem, "replace links between the folders"))
    yield _Folder(path, folder.within | {identity}, links)


def _error_entry(path: str, error: OSError) -> Iterator[Entry]:
    if error.errno not in _GONE:
        yield Entry(path, is_folder=True, error=error)
