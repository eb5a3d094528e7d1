"""Find files that hide a module which seedbed or its dependencies import.

A user's file yaml.py in a folder that is searched first breaks every import of yaml, and not in all processes
alike. Files of an installed distribution do not count. Modules that such a file could hide are imported in
functions only.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # as of typing, without importing it
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

OWN_PACKAGES = frozenset({"seedbed", "seedbed_api", "seedbed_operator"})
_EXTRA = "train"
_SUFFIXES = (".py", ".so")


def hidden_modules(names: Iterable[str], *, searched: Sequence[str]) -> list[str]:
    """Return the names of needed modules that the `searched` folders contain, sorted."""
    always = OWN_PACKAGES | sys.stdlib_module_names
    found = [name for name in sorted(names) if name in always or _exists(name, searched)]
    return [name for name in found if name in always or name in needed_modules()]


def find_clash(folder: str, *, searched: Sequence[str]) -> str | None:
    """Return a file or package of `folder` that would hide a needed module; None without one."""
    try:
        entries = {entry.name.partition(".")[0]: entry for entry in os.scandir(folder) if _is_module(entry)}
    except OSError:
        return None
    hides = [name for name in sorted(entries) if name in sys.stdlib_module_names]
    distributions = any(name.endswith((".dist-info", ".egg-info")) for name in os.listdir(folder))
    if distributions or not hides:
        hides = hidden_modules(entries.keys() - OWN_PACKAGES, searched=searched)
        installed = _installed_in(folder) if hides and distributions else frozenset()
        hides = [name for name in hides if name not in installed]
    return entries[hides[0]].path if hides else None


_needed: list[frozenset[str]] = []


def needed_modules() -> frozenset[str]:
    """Return the modules of all distributions that seedbed depends on, directly or not."""
    if not _needed:  # cached, because reading them takes a third of a second
        _needed.append(_modules_of_dependencies())
    return _needed[0]


def _modules_of_dependencies() -> frozenset[str]:
    seen: set[tuple[str, frozenset[str]]] = set()
    pending = [("seedbed", frozenset({_EXTRA}))]
    while pending:
        name, extras = pending.pop()
        if (name, extras) not in seen:
            seen.add((name, extras))
            pending += _requirements(name, extras)
    return frozenset(module for name in {name for name, _ in seen} for module in _modules_of(name))


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield name and extras of the requirements of a distribution; nothing if it is not installed."""
    import re
    from importlib import metadata

    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return
    for line in lines:
        of_extras = set(re.findall(r"extra\s*==\s*['\"]([^'\"]+)", line.partition(";")[2]))
        match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", line)
        if match and (not of_extras or of_extras & extras):
            wanted = frozenset(each.strip() for each in (match[2] or "").split(",") if each.strip())
            yield re.sub(r"[-_.]+", "-", match[1]).lower(), wanted


def _modules_of(name: str) -> set[str]:
    from importlib import metadata

    try:
        return _top_level(metadata.files(name) or [])
    except metadata.PackageNotFoundError:
        return set()


def _installed_in(folder: str) -> frozenset[str]:
    from importlib import metadata

    found = metadata.distributions(path=[folder])
    return frozenset(name for each in found for name in _top_level(each.files or []))


def _top_level(files: Iterable[os.PathLike[str]]) -> set[str]:
    paths = [os.fspath(file) for file in files]
    return {path.partition("/")[0].partition(".")[0] for path in paths if path.endswith(_SUFFIXES)} - {""}


def _is_module(entry: os.DirEntry[str]) -> bool:
    package = os.path.join(entry.path, "__init__.py")
    return entry.name.endswith(_SUFFIXES) or (entry.is_dir() and os.path.isfile(package))


def _exists(name: str, searched: Sequence[str]) -> bool:
    """Return whether a module is found; a folder without __init__.py does not count: others precede it."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(name, list(searched))
    return spec is not None and spec.origin is not None
