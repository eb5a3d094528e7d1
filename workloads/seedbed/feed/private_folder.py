"""The cache folder of a user: what other users of the machine may write or read is not trusted.

Digests protect a cache against damage. Against someone who may write to it only the owner and the mode of
its folder protect.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from seedbed_api.errors import UserError, refusal

_OF_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def private_folder(folder: Path) -> Path:
    """Return `folder` if it is this user's alone, else the user's own folder `uid-N` in it, made if missing.

    Raises UserError InvalidOption where `uid-N` belongs to another user or is a link, or where the folder
    lets every user replace it. Raises OSErrors of the system.
    """
    _make_private(folder)
    status = folder.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & _OF_OTHERS:
        return folder
    if status.st_mode & stat.S_IWOTH and not status.st_mode & stat.S_ISVTX:
        fix = f"chmod +t {folder}, or name a folder that only you may write"
        raise _refused(folder, "lets every user of this machine replace what lies in it", fix)
    own = folder / f"uid-{os.geteuid()}"
    _make_private(own)
    _require_own(own)
    return own


def _make_private(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def _require_own(folder: Path) -> None:
    fix = "remove it, or name another folder"
    if folder.is_symlink():
        raise _refused(folder, "is a symbolic link", fix)
    handle = os.open(folder, _FLAGS)
    try:
        status = os.fstat(handle)
        if status.st_uid != os.geteuid():
            raise _refused(folder, f"belongs to user {status.st_uid}, not to you", fix)
        if status.st_mode & _OF_OTHERS:
            os.fchmod(handle, 0o700)
    finally:
        os.close(handle)


def _refused(folder: Path, problem: str, fix: str) -> UserError:
    return UserError("InvalidOption", refusal("--cache", str(folder), problem, fix))
