"""Patterns of names of tensors, such as `fc.*`; drivers of sweeps read them, so this imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Say whether any pattern matches a name."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def unused_patterns(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Return the patterns that match none of the names."""
    known = list(names)
    return [pattern for pattern in patterns if not any(fnmatchcase(name, pattern) for name in known)]
