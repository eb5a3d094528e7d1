"""One kind's objects by name: the larger resource version wins, the dead stay dead.

Three writers feed a table without an order between them: the watch, the sweeps and our own writes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from seedbed_api.jobs import JobKind

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


class Table(Generic[T]):
    """Objects of one kind."""

    def __init__(self) -> None:
        self._entries: dict[Key, Entry[T]] = {}
        self._tombstones: OrderedDict[str, None] = OrderedDict()

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

    def _bury(self, uid: str) -> None:
        self._tombstones[uid] = None
        if len(self._tombstones) > MOST_TOMBSTONES:
            self._tombstones.popitem(last=False)
