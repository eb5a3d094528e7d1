"""The files that SOURCE names: one file, a pattern of files, or all files of a format in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from seedbed.dataset.class_folders import is_ignored, source_entries
from seedbed.storage import Storage, open_storage
from seedbed_api.errors import UserError, refusal

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")
_WILD = re.compile(r"[*?\[]")
_MOST_FILES = 1_000_000


@dataclass(frozen=True, kw_only=True, slots=True)
class SourcePlace:
    """Where a source is: a folder, and the files of it that SOURCE names."""

    storage: Storage
    files: tuple[str, ...] | None
    """None: the whole folder."""


def find_source(url: str, *, secret: Path | None = None, suffixes: tuple[str, ...]) -> SourcePlace:
    """Open a folder, one file of a format (by `suffixes`), or files by `*` and `{000..003}`."""
    folder, _, name = url.rstrip("/").rpartition("/")
    whole = SourcePlace(storage=open_storage(url, secret=secret), files=None)
    patterned = bool(_RANGE.search(url) or _WILD.search(name)) and not _is_folder(whole.storage)
    if not patterned and not name.lower().endswith(suffixes):
        return whole
    if patterned and (_RANGE.search(folder) or _WILD.search(folder)):
        head, _, tail = _constant_head(folder)
        folder, name = head, f"{tail}/{name}"
    above = open_storage(folder or ("/" if url.startswith("/") else "."), secret=secret)
    if patterned:
        return SourcePlace(storage=above, files=_matches(above, name, url))
    return SourcePlace(storage=above, files=(name,)) if above.exists(name) else whole


def _is_folder(storage: Storage) -> bool:
    root = getattr(storage, "root", None)
    return isinstance(root, Path) and root.is_dir()


def _constant_head(folder: str) -> tuple[str, str, str]:
    parts = folder.split("/")
    at = next(n for n, part in enumerate(parts) if _RANGE.search(part) or _WILD.search(part))
    return "/".join(parts[:at]), "/", "/".join(parts[at:])


def _matches(storage: Storage, pattern: str, url: str) -> tuple[str, ...]:
    found: list[str] = []
    for name in expand_braces(pattern):
        if _WILD.search(name):
            found += sorted(path for path in paths_of(storage) if fnmatchcase(path, name))
        else:
            found.append(name)
    if not found:
        raise UserError("NoImages", refusal("SOURCE", url, "no file matches", "correct the pattern"))
    return tuple(dict.fromkeys(found))


def expand_braces(pattern: str) -> list[str]:
    """Return the names that `{000..003}` and `{a,b}` stand for, as a shell writes them."""
    match = _RANGE.search(pattern)
    if match is None:
        return [pattern]
    if match[3] is not None:
        middles = match[3].split(",")
    else:
        first, last = int(match[1]), int(match[2])
        if abs(last - first) >= _MOST_FILES:
            fix = f"name at most {_MOST_FILES:,} files"
            raise UserError("InvalidSource", refusal("SOURCE", pattern, "names too many files", fix))
        step = 1 if last >= first else -1
        width = len(match[1]) if match[1].startswith("0") or match[2].startswith("0") else 0
        middles = [f"{number:0{width}d}" for number in range(first, last + step, step)]
    tails = expand_braces(pattern[match.end() :])
    return [f"{pattern[: match.start()]}{middle}{tail}" for middle in middles for tail in tails]


def paths_of(storage: Storage) -> Iterator[str]:
    """Yield the paths of all files of a source, but those in hidden folders."""
    return (entry.path for entry in source_entries(storage) if not entry.is_folder)


def holds_no_rows(path: str) -> bool:
    """Return whether a file is none of the source: hidden, of the system, or a mark as `_SUCCESS`."""
    return any(is_ignored(part) or part.startswith("_") for part in path.split("/"))
