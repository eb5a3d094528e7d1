"""One kind's objects by name: the larger resource version wins, the dead stay dead.

Three writers feed a table without an order between them: the watch, the sweeps and our own writes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, MutableMapping
from dataclasses import dataclass, replace
from typing import Final, Generic, NamedTuple, TypeVar

from cachetools import FIFOCache

from seedbed_api.job_kinds import JobKind

Key = tuple[str, str]
"""Namespace and name; the namespace of cluster-scoped objects is empty."""


class JobKey(NamedTuple):
    """What a pass is made over: a TrainingJob and a SweepJob may bear one name."""

    namespace: str
    name: str
    kind: JobKind = "TrainingJob"


MOST_TOMBSTONES: Final = 20_000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry(Generic[T]):
    """One object."""

    uid: str
    version: int
    value: T


@dataclass(frozen=True, kw_only=True, slots=True)
class Mark:
    """What a table had seen at one moment: a list that begins later tells of nothing older."""

    newest: int
    """The largest resource version."""
    burials: int
    """How many deletions."""


class Table(Generic[T]):
    """Objects of one kind."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry[T]] = {}
        self._tombstones: MutableMapping[str, int] = FIFOCache(MOST_TOMBSTONES)
        """Uids of the dead, in the order of their deletion, which is counted."""
        self._newest = 0
        self._burials = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> T | None:
        """Return what is known of an object."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def items(self) -> Iterator[tuple[Key, Entry[T]]]:
        """Yield all objects as they are now."""
        yield from list(self._entries.items())

    def put(self, key: Key, entry: Entry[T]) -> bool:
        """Take over an object unless it is known to be deleted, or a newer state is known; tell whether."""
        known = self._entries.get(key)
        self._newest = max(self._newest, entry.version)
        if entry.uid in self._tombstones or (known is not None and known.version >= entry.version):
            return False
        if known is not None and known.uid != entry.uid:
            self._bury(known.uid)
        self._entries[key] = entry
        return True

    def drop(self, key: Key, uid: str) -> bool:
        """Forget an object that is deleted, for good; tell whether it was known."""
        self._bury(uid)
        known = self._entries.get(key)
        if known is None or known.uid != uid:
            return False
        del self._entries[key]
        return True

    def ghosts(self, namespace: str | None, listed: Collection[str], version: int) -> list[tuple[Key, str]]:
        """Return key and uid of what a list of this version should have held and did not."""
        return [
            (key, entry.uid)
            for key, entry in self._entries.items()
            if (namespace is None or key[0] == namespace)
            and entry.uid not in listed
            and entry.version <= version
        ]

    def forget(self, namespace: str) -> list[Key]:
        """Forget what is in a namespace that cannot be read; it may be seen again. Return what it was."""
        keys = [key for key in self._entries if key[0] == namespace]
        for key in keys:
            del self._entries[key]
        return keys

    def mark(self) -> Mark:
        """Return what was seen so far."""
        return Mark(newest=self._newest, burials=self._burials)

    def contradicts(self, key: Key, entry: Entry[T], version: int, since: Mark) -> bool:
        """Tell whether an object of a list that began at a mark shows that history was rewritten.

        It was deleted before, or the list has an older state of it than one that it must know.
        """
        if self._tombstones.get(entry.uid, since.burials) < since.burials:
            return True
        known = self._entries.get(key)
        return known is not None and known.uid == entry.uid and entry.version < known.version <= version

    def rewind(self) -> None:
        """Let whatever is seen from now on be newer than what is known, and the dead be alive again."""
        self._entries = {key: replace(entry, version=0) for key, entry in self._entries.items()}
        self._tombstones.clear()
        self._newest = 0

    def _bury(self, uid: str) -> None:
        self._tombstones[uid] = self._burials
        self._burials += 1
