"""Which files would be imported in place of a module that seedbed, or what it depends on, needs.

A file of the user's named yaml.py, in a folder that is searched first, breaks what imports yaml, and not in
all processes alike. What a distribution brings along is no such file. Nothing is imported at the top that
such a file could hide.
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
    """Return those of some names that are modules which we need and which `searched` folders hold, sorted."""
    always = OWN_PACKAGES | sys.stdlib_module_names
    found = [name for name in sorted(names) if name in always or _is_there(name, searched)]
    return [name for name in found if name in always or name in needed_modules()]


def find_clash(folder: str, *, searched: Sequence[str]) -> str | None:
    """Return a file or package of `folder` that would hide a module which we need; None without one."""
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
    if not _needed:  # they are read once: it takes a third of a second
        _needed.append(_modules_of_dependencies())
    return _needed[0]


def _modules_of_dependencies() -> frozenset[str]:
    seen: set[tuple[str, frozenset[str]]] = set()
    left = [("seedbed", frozenset({_EXTRA}))]
    while left:
        name, extras = left.pop()
        if (name, extras) not in seen:
            seen.add((name, extras))
            left += _requirements(name, extras)
    return frozenset(module for name in {name for name, _ in seen} for module in _modules_of(name))


def _requirements(name: str, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Yield name and extras of what a distribution requires on some machine; nothing if it is not there."""
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


def _is_there(name: str, searched: Sequence[str]) -> bool:
    """Say whether a module is found; a folder without __init__.py is none: it gives way to any other."""
    from importlib.machinery import PathFinder

    spec = PathFinder.find_spec(name, list(searched))
    return spec is not None and spec.origin is not None
