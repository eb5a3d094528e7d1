"""Remove unreadable values from a status, no more than needed: its owner may be allowed to write anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Path = tuple[int | str, ...]


def without_unreadable(fields: Mapping[str, Any], paths: Iterable[Path]) -> dict[str, Any]:
    """Return the fields without the first unreadable value of each; an entry of a list goes as a whole."""
    firsts: dict[int | str, Path] = {}
    for path in paths:
        firsts.setdefault(path[0], path)
    repaired = dict(fields)
    for name, path in firsts.items():
        rest = _without(repaired.get(str(name)), path[1:])
        if rest is None:
            repaired.pop(str(name), None)
        else:
            repaired[str(name)] = rest
    return repaired


def _without(value: Any, path: Path) -> Any:
    """Return a copy of a value without what is at a path; None where nothing of it is left."""
    if not path:
        return None
    first = path[0]
    if isinstance(value, Mapping):
        if first not in value:  # a field is missing: the block is of no use
            return None
        inner = _without(value[str(first)], path[1:])
        rest = {name: each for name, each in value.items() if name != first}
        return rest if inner is None else {**rest, first: inner}
    if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(first, int):
        return [each for index, each in enumerate(value) if index != first]
    return None
