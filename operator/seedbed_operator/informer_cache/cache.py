"""The tables of the operator and the index of pods by job; each change tells which jobs it concerns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from cachetools import FIFOCache

from seedbed_operator.informer_cache.object_projections import (
    JobRecord,
    job_of,
    job_record,
    pod_view,
    profile_view,
)
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.kube_client.client_interface import Raw
from seedbed_operator.kube_client.resource_kinds import (
    JOBS,
    KIND_OF,
    PODS,
    PROFILES,
    SWEEPS,
    JobKey,
    Key,
    Kind,
)

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


Keys = frozenset[JobKey]
"""Jobs whose plan may have changed."""
NONE: Keys = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """All that was known at one moment; nothing of it changes, so that any thread may read it."""

    jobs: Sequence[tuple[JobKey, Entry[JobRecord]]]
    pods: Sequence[tuple[JobKey, PodView]]
    """Each with the job that its labels name."""
    profiles: Mapping[str, ProfileView]


class Stores:
    """Jobs, pods and profiles."""

    def __init__(self) -> None:
        self.jobs: Table[JobRecord] = Table()
        self.sweeps: Table[JobRecord] = Table()
        self._pods: Table[tuple[JobKey, PodView]] = Table()
        self._profiles: Table[ProfileView] = Table()
        self._pods_of: defaultdict[JobKey, set[Key]] = defaultdict(set)

    def job(self, key: JobKey) -> JobRecord | None:
        """Return a job."""
        return self._table(KIND_OF[key.kind]).get(key[:2])

    def pods(self, job: JobKey) -> tuple[PodView, ...]:
        """Return the pods whose labels name a job, sorted by name."""
        found = (self._pods.get(key) for key in sorted(self._pods_of.get(job, ())))
        return tuple(entry[1] for entry in found if entry)

    def pod(self, key: Key) -> PodView | None:
        """Return a pod."""
        entry = self._pods.get(key)
        return entry[1] if entry else None

    def profile(self, name: str) -> ProfileView | None:
        """Return a profile."""
        return self._profiles.get(("", name))

    def counts(self) -> dict[str, int]:
        """Return how many objects of each kind are known."""
        return {kind.plural: len(self._table(kind)) for kind in (JOBS, SWEEPS, PODS, PROFILES)}

    def snapshot(self) -> Snapshot:
        """Return all that is known now."""
        kinds = KIND_OF.values()
        return Snapshot(
            jobs=[(_job_key(kind, key), job) for kind in kinds for key, job in self._table(kind).items()],
            pods=[entry.value for _, entry in self._pods.items()],
            profiles={name: entry.value for (_, name), entry in self._profiles.items()},
        )

    def put(self, kind: Kind, raw: Raw) -> Keys:
        """Take over an object from a list, a watch or an answer; return the jobs that it changes."""
        if kind is PODS:
            return self._put_pod(raw)
        if kind is PROFILES:
            changed = self._profiles.put(_key(raw), _entry(raw, profile_view(raw)))
            return self._users_of_profiles() if changed else NONE
        job = _job_key(kind, _key(raw))
        record = job_record(raw, job.kind)
        return frozenset({job}) if self._table(kind).put(_key(raw), _entry(raw, record)) else NONE

    def drop(self, kind: Kind, key: Key, uid: str) -> Keys:
        """Forget an object that is deleted; return the jobs that this changes."""
        if kind is PODS:
            return self._drop_pod(key, uid)
        if kind is PROFILES:
            return self._users_of_profiles() if self._profiles.drop(key, uid) else NONE
        return frozenset({_job_key(kind, key)}) if self._table(kind).drop(key, uid) else NONE

    def drop_ghosts(self, kind: Kind, namespace: str | None, listed: set[str], version: int) -> Keys:
        """Forget what a whole list of a kind did not hold; return the jobs that this changes."""
        scope = namespace if kind.namespaced else None
        ghosts = self._table(kind).ghosts(scope, listed, version)
        return _union(self.drop(kind, key, uid) for key, uid in ghosts)

    def forget(self, namespace: str) -> Keys:
        """Forget a namespace that cannot be read any more; return the jobs that were in it."""
        jobs: set[JobKey] = set()
        for kind in KIND_OF.values():
            jobs |= {_job_key(kind, key) for key in self._table(kind).forget(namespace)}
        self._pods.forget(namespace)
        for job in [job for job in self._pods_of if job.namespace == namespace]:
            del self._pods_of[job]
        return frozenset(jobs)

    def mark(self, kind: Kind) -> Mark:
        """Return what was seen of a kind so far."""
        return self._table(kind).mark()

    def contradicts(self, kind: Kind, raw: Raw, version: int, since: Mark) -> bool:
        """Tell whether an object of a list that began at a mark shows that history was rewritten."""
        rewritten = self._table(kind).contradicts(_key(raw), _entry(raw, None), version, since)
        counts = kind is not PODS or pod_view(raw) is not None  # without our labels it counts as deleted
        return rewritten and counts

    def rewind(self, kind: Kind) -> None:
        """Take whatever is seen of a kind from now on for newer than what is known: a backup was restored."""
        self._table(kind).rewind()

    def namespaces(self) -> set[str]:
        """Return the namespaces that have jobs."""
        return {key[0] for kind in KIND_OF.values() for key, _ in self._table(kind).items()}

    def unfinished(self) -> Iterator[JobKey]:
        """Yield the jobs that are neither complete nor failed."""
        for kind in KIND_OF.values():
            entries = self._table(kind).items()
            yield from (_job_key(kind, key) for key, entry in entries if not entry.value.finished)

    def _table(self, kind: Kind) -> Table[Any]:
        tables: dict[Kind, Table[Any]] = {
            JOBS: self.jobs,
            SWEEPS: self.sweeps,
            PODS: self._pods,
            PROFILES: self._profiles,
        }
        return tables[kind]

    def _put_pod(self, raw: Raw) -> Keys:
        view = pod_view(raw)
        if view is None:
            return self._drop_pod(_key(raw), raw["metadata"]["uid"])
        key, job = _key(raw), job_of(raw)
        before = self._pods.get(key)
        if not self._pods.put(key, _entry(raw, (job, view))):
            return NONE
        if before is not None and before[0] != job:
            self._unlink(before[0], key)
        self._pods_of[job].add(key)
        return frozenset({job, before[0]}) if before else frozenset({job})

    def _drop_pod(self, key: Key, uid: str) -> Keys:
        before = self._pods.get(key)
        if not self._pods.drop(key, uid):
            return NONE
        assert before is not None
        self._unlink(before[0], key)
        return frozenset({before[0]})

    def _unlink(self, job: JobKey, pod: Key) -> None:
        self._pods_of[job].discard(pod)
        if not self._pods_of[job]:
            del self._pods_of[job]

    def _users_of_profiles(self) -> Keys:
        """Return every job that is not finished: profiles are few and change rarely."""
        return frozenset(self.unfinished())


def _job_key(kind: Kind, key: Key) -> JobKey:
    return JobKey(*key, "SweepJob" if kind is SWEEPS else "TrainingJob")


def _key(raw: Raw) -> Key:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _entry(raw: Raw, value: Any) -> Entry[Any]:
    metadata = raw["metadata"]
    return Entry(uid=metadata["uid"], version=int(metadata["resourceVersion"]), value=value)


def _union(parts: Iterable[Keys]) -> Keys:
    return frozenset().union(*parts)
