"""Source files of user code and their digest: read from a folder or a package, digested by path and bytes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from seedbed.storage import LocalStorage, UnreadableObject
from seedbed.storage.object_limits import CODE_FILE
from seedbed.usercode.user_error_messages import model_error

MAX_BYTES = 16 * 1024 * 1024
_NATIVE = frozenset({".so", ".pyd", ".dylib", ".dll", ".pth"})
_LEFT_OUT_SUFFIXES = frozenset({".pyc", ".pyo"})


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFiles:
    """The files of user code: relative POSIX path -> content."""

    files: Mapping[str, bytes]

    @property
    def digest(self) -> str:
        """Return `sha256:…` over path and content of every file, in order of paths; no zip bytes."""
        total = hashlib.sha256()
        for path in sorted(self.files):
            total.update(path.encode() + b"\0" + hashlib.sha256(self.files[path]).digest())
        return "sha256:" + total.hexdigest()

    @property
    def top_level(self) -> frozenset[str]:
        """Return the names that `import` would find."""
        paths = [PurePosixPath(path) for path in self.files if path.endswith(".py")]
        return frozenset(path.parts[0].removesuffix(".py") for path in paths)


def read_folder(folder: Path) -> SourceFiles:
    """Read the Python files below `folder`, and the data files of its packages.

    Leaves out hidden files, caches, and files outside of packages that are not Python.
    Raises UserError for links, native code and more than 16 MiB.
    """
    if not folder.is_dir():
        raise model_error("code", str(folder), "no such folder", "name a folder that holds Python files")
    files: dict[str, bytes] = {}
    for path in _source_files(folder, top=folder):
        _refuse_foreign(path)
        files[path.relative_to(folder).as_posix()] = _read(path)
        if sum(map(len, files.values())) > MAX_BYTES:
            raise model_error("code", str(folder), "holds more than 16 MiB", "name a folder of code alone")
    if not any(path.endswith(".py") for path in files):
        raise model_error("code", str(folder), "holds no Python file", "name the folder above the package")
    return SourceFiles(files=files)


def read_installed(package: Path) -> SourceFiles:
    """Read an installed package (a folder) or module (a file) without checks: it is part of the image."""
    paths = _source_files(package, top=package.parent) if package.is_dir() else [package]
    return SourceFiles(
        files={path.relative_to(package.parent).as_posix(): path.read_bytes() for path in paths}
    )


def check_files(where: str, files: Mapping[str, bytes]) -> SourceFiles:
    """Return the files as sources. Raises UserError for native code and paths that lead out."""
    for path in files:
        parts = PurePosixPath(path)
        if parts.is_absolute() or ".." in parts.parts or "\\" in path:
            raise model_error(
                "code", where, f"has a path that leads out of it: {path}", "build the wheel anew"
            )
        if parts.suffix in _NATIVE:
            raise model_error("code", where, f"holds native code: {path}", "put compiled code into the image")
    return SourceFiles(files=dict(files))


def _source_files(folder: Path, *, top: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder, onerror=_refuse_unlisted):
        here = Path(root)
        folders[:] = sorted(name for name in folders if _is_walked(name))
        yield from (here / name for name in sorted(names) if _is_source(here, name, top=top))


def _is_walked(name: str) -> bool:
    return not (name.startswith(".") or name == "__pycache__" or name.endswith((".egg-info", ".dist-info")))


def _is_source(folder: Path, name: str, *, top: Path) -> bool:
    if name.startswith(".") or Path(name).suffix in _LEFT_OUT_SUFFIXES:
        return False
    return name.endswith(".py") or (folder != top and (folder / "__init__.py").is_file())


def _read(path: Path) -> bytes:
    try:
        return LocalStorage(root=path.parent).read(path.name, CODE_FILE)
    except UnreadableObject as error:
        raise model_error("code", str(path), "cannot be read", error.problem) from error


def _refuse_unlisted(error: OSError) -> None:
    """Reject a folder that cannot be listed; os.walk would skip it."""
    fix = "check the owner and the mode of the folder"
    problem = f"cannot be listed: {(error.strerror or str(error)).lower()}"
    raise model_error("code", str(error.filename), problem, fix) from error


def _refuse_foreign(path: Path) -> None:
    if path.is_symlink():
        raise model_error("code", str(path), "is a link", "put the file itself into the folder")
    if path.suffix in _NATIVE:
        raise model_error("code", str(path), "is native code", "put compiled code into the image")
