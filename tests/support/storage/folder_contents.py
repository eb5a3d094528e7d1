"""Contents of a folder, to show that it was left as it was."""

from __future__ import annotations

from pathlib import Path


def contents(folder: Path) -> dict[str, bytes | str | None]:
    """Return every path below a folder: the bytes of a file, the target of a link, None for the rest."""
    return {str(path.relative_to(folder)): _content(path) for path in sorted(folder.rglob("*"))}


def _content(path: Path) -> bytes | str | None:
    if path.is_symlink():
        return str(path.readlink())
    return path.read_bytes() if path.is_file() else None
