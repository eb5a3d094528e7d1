"""Read fields that strangers write: a wrong type reads as nothing, and what is kept has a bound.

The API server checks the types of pods and the lengths of few of their strings; a job's status is writable by
its owner where an administrator allows that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

MOST_CHARACTERS: Final = 1024
"""Of a message; a condition shows fewer."""
LONGEST_TERMINATION_MESSAGE: Final = 4096
"""The kubelet cuts it there."""
LONGEST_NAME: Final = 253
LONGEST_IMAGE: Final = 512
MOST_ENTRIES: Final = 64
"""Of a list: containers, conditions, owners."""


def text(value: Any, most: int = MOST_CHARACTERS) -> str:
    """Return the start of a string; empty for anything else."""
    return value[:most] if isinstance(value, str) else ""


def mapping(value: Any) -> Mapping[str, Any]:
    """Return a map; an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def mappings(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the maps among the first entries of a list; nothing for anything else."""
    entries = value if isinstance(value, list | tuple) else ()
    return (entry for entry in islice(entries, MOST_ENTRIES) if isinstance(entry, Mapping))


def integer(value: Any, *, least: int, most: int, default: int = 0) -> int:
    """Return an integer within bounds, moved to the nearer bound; the default for anything else."""
    if isinstance(value, bool) or not isinstance(value, int):
        return default
    return min(max(value, least), most)


def object_name(raw: Any) -> str:
    """Return namespace and name of an object that may be anything."""
    metadata = mapping(mapping(raw).get("metadata"))
    return f"{text(metadata.get('namespace'), LONGEST_NAME)}/{text(metadata.get('name'), LONGEST_NAME)}"


def object_version(raw: Any) -> str:
    """Return the resource version of an object that may be anything."""
    return text(mapping(mapping(raw).get("metadata")).get("resourceVersion"), LONGEST_NAME)
