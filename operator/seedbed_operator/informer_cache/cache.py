"""Cache of jobs, pods and profiles with an index of pods by job; each change returns the jobs it affects."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from cachetools import FIFOCache

from seedbed_operator.informer_cache.object_views import (
    JobRecord,
    job_of_pod,
    job_record,
    pod_view,
    profile_view,
)
from seedbed_operator.job_observation import PodView, ProfileView
from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import (
    JOBS,
    KIND_OF_JOB,
    PODS,
    PROFILES,
    SWEEPS,
    JobKey,
    Key,
    ResourceKind,
)

MOST_TOMBSTONES: Final = 20_000

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class CachedObject(Generic[T]):
    """One object with its uid and resource version."""

    uid: str
    version: int
    value: T


@dataclass(frozen=True, kw_only=True, slots=True)
class HistoryMark:
    """State of a table before a list request, to detect a list that is older than what was seen."""

    newest: int
    """The largest resource version."""
    deletions: int
    """Number of deletions so far."""


class ObjectTable(Generic[T]):
    """Objects of one kind."""

    def __init__(self) -> None:
        self._entries: dict[Key, CachedObject[T]] = {}
        self._tombstones: MutableMapping[str, int] = FIFOCache(MOST_TOMBSTONES)
        """Uids of deleted objects with the number of their deletion, oldest first."""
        self._newest = 0
        self._deletions = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key) -> T | None:
        """Return the value of an object; None where it is not cached."""
        entry = self._entries.get(key)
        return entry.value if entry else None

    def items(self) -> Iterator[tuple[Key, CachedObject[T]]]:
        """Yield all cached objects."""
        yield from list(self._entries.items())

    def put(self, key: Key, entry: CachedObject[T]) -> bool:
        """Store an object unless it was deleted or a newer version is cached; return whether it was."""
        known = self._entries.get(key)
        self._newest = max(self._newest, entry.version)
        if entry.uid in self._tombstones or (known is not None and known.version >= entry.version):
            return False
        if known is not None and known.uid != entry.uid:
            self._add_tombstone(known.uid)
        self._entries[key] = entry
        return True

    def drop(self, key: Key, uid: str) -> bool:
        """Remove a deleted object for good; return whether it was cached."""
        self._add_tombstone(uid)
        known = self._entries.get(key)
        if known is None or known.uid != uid:
            return False
        del self._entries[key]
        return True

    def missing(self, namespace: str | None, listed: Collection[str], version: int) -> list[tuple[Key, str]]:
        """Return key and uid of cached objects that a list of this version should contain and does not."""
        return [
            (key, entry.uid)
            for key, entry in self._entries.items()
            if (namespace is None or key[0] == namespace)
            and entry.uid not in listed
            and entry.version <= version
        ]

    def forget(self, namespace: str) -> list[Key]:
        """Remove a namespace that cannot be read; its objects may come back. Return their keys."""
        keys = [key for key in self._entries if key[0] == namespace]
        for key in keys:
            del self._entries[key]
        return keys

    def mark(self) -> HistoryMark:
        """Return the newest resource version and the number of deletions so far."""
        return HistoryMark(newest=self._newest, deletions=self._deletions)

    def shows_rewritten_history(
        self, key: Key, entry: CachedObject[T], version: int, since: HistoryMark
    ) -> bool:
        """Return whether an object of a list that began at a mark shows a restored backup.

        The object was deleted before the list, or the list holds an older version than it must.
        """
        if self._tombstones.get(entry.uid, since.deletions) < since.deletions:
            return True
        known = self._entries.get(key)
        return known is not None and known.uid == entry.uid and entry.version < known.version <= version

    def accept_older_versions(self) -> None:
        """Accept any resource version and deleted uids from now on: a backup was restored."""
        self._entries = {key: replace(entry, version=0) for key, entry in self._entries.items()}
        self._tombstones.clear()
        self._newest = 0

    def _add_tombstone(self, uid: str) -> None:
        self._tombstones[uid] = self._deletions
        self._deletions += 1


JobKeys = frozenset[JobKey]
"""Jobs whose plan may have changed."""
NO_JOBS: JobKeys = frozenset()


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheSnapshot:
    """Immutable copy of the cache at one moment; any thread may read it."""

    jobs: Sequence[tuple[JobKey, CachedObject[JobRecord]]]
    pods: Sequence[tuple[JobKey, PodView]]
    """Each with the job from its labels."""
    profiles: Mapping[str, ProfileView]


class InformerCache:
    """Jobs, pods and profiles that the operator may read."""

    def __init__(self) -> None:
        self.jobs: ObjectTable[JobRecord] = ObjectTable()
        self.sweeps: ObjectTable[JobRecord] = ObjectTable()
        self._pods: ObjectTable[tuple[JobKey, PodView]] = ObjectTable()
        self._profiles: ObjectTable[ProfileView] = ObjectTable()
        self._pods_of: defaultdict[JobKey, set[Key]] = defaultdict(set)

    def job(self, key: JobKey) -> JobRecord | None:
        """Return a job."""
        return self._table(KIND_OF_JOB[key.kind]).get(key[:2])

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

    def profiles(self) -> tuple[ProfileView, ...]:
        """Return all profiles."""
        return tuple(entry.value for _, entry in self._profiles.items())

    def counts(self) -> dict[str, int]:
        """Return the number of cached objects per kind."""
        return {kind.plural: len(self._table(kind)) for kind in (JOBS, SWEEPS, PODS, PROFILES)}

    def snapshot(self) -> CacheSnapshot:
        """Return an immutable copy."""
        kinds = KIND_OF_JOB.values()
        return CacheSnapshot(
            jobs=[(_job_key(kind, key), job) for kind in kinds for key, job in self._table(kind).items()],
            pods=[entry.value for _, entry in self._pods.items()],
            profiles={name: entry.value for (_, name), entry in self._profiles.items()},
        )

    def put(self, kind: ResourceKind, raw: RawObject) -> JobKeys:
        """Store an object from a list, a watch or a response; return the jobs it affects."""
        if kind is PODS:
            return self._put_pod(raw)
        if kind is PROFILES:
            return self._put_profile(raw)
        job = _job_key(kind, _key(raw))
        record = job_record(raw, job.kind)
        return frozenset({job}) if self._table(kind).put(_key(raw), _cached_object(raw, record)) else NO_JOBS

    def drop(self, kind: ResourceKind, key: Key, uid: str) -> JobKeys:
        """Remove a deleted object; return the jobs it affects."""
        if kind is PODS:
            return self._drop_pod(key, uid)
        if kind is PROFILES:
            return self._users_of_profiles() if self._profiles.drop(key, uid) else NO_JOBS
        return frozenset({_job_key(kind, key)}) if self._table(kind).drop(key, uid) else NO_JOBS

    def drop_missing(
        self, kind: ResourceKind, namespace: str | None, listed: set[str], version: int
    ) -> JobKeys:
        """Remove objects that a complete list does not contain; return the jobs they affect."""
        scope = namespace if kind.namespaced else None
        missing = self._table(kind).missing(scope, listed, version)
        return _union(self.drop(kind, key, uid) for key, uid in missing)

    def forget(self, namespace: str) -> JobKeys:
        """Remove a namespace that can no longer be read; return its jobs."""
        jobs: set[JobKey] = set()
        for kind in KIND_OF_JOB.values():
            jobs |= {_job_key(kind, key) for key in self._table(kind).forget(namespace)}
        self._pods.forget(namespace)
        for job in [job for job in self._pods_of if job.namespace == namespace]:
            del self._pods_of[job]
        return frozenset(jobs)

    def mark(self, kind: ResourceKind) -> HistoryMark:
        """Return the mark of a kind before it is listed."""
        return self._table(kind).mark()

    def shows_rewritten_history(
        self, kind: ResourceKind, raw: RawObject, version: int, since: HistoryMark
    ) -> bool:
        """Return whether an object of a list that began at a mark shows a restored backup."""
        rewritten = self._table(kind).shows_rewritten_history(
            _key(raw), _cached_object(raw, None), version, since
        )
        counts = kind is not PODS or pod_view(raw) is not None  # a pod without our labels counts as deleted
        return rewritten and counts

    def accept_older_versions(self, kind: ResourceKind) -> None:
        """Accept any version of a kind from now on: a backup was restored."""
        self._table(kind).accept_older_versions()

    def namespaces(self) -> set[str]:
        """Return the namespaces that have jobs."""
        return {key[0] for kind in KIND_OF_JOB.values() for key, _ in self._table(kind).items()}

    def unfinished(self) -> Iterator[JobKey]:
        """Yield the jobs that are neither complete nor failed."""
        for kind in KIND_OF_JOB.values():
            entries = self._table(kind).items()
            yield from (_job_key(kind, key) for key, entry in entries if not entry.value.finished)

    def _table(self, kind: ResourceKind) -> ObjectTable[Any]:
        tables: dict[ResourceKind, ObjectTable[Any]] = {
            JOBS: self.jobs,
            SWEEPS: self.sweeps,
            PODS: self._pods,
            PROFILES: self._profiles,
        }
        return tables[kind]

    def _put_profile(self, raw: RawObject) -> JobKeys:
        """Store a profile; its status decides about no job."""
        view, before = profile_view(raw), self.profile(raw["metadata"]["name"])
        changed = self._profiles.put(_key(raw), _cached_object(raw, view))
        same = before is not None and (before.spec, before.generation) == (view.spec, view.generation)
        return self._users_of_profiles() if changed and not same else NO_JOBS

    def _put_pod(self, raw: RawObject) -> JobKeys:
        view = pod_view(raw)
        if view is None:
            return self._drop_pod(_key(raw), raw["metadata"]["uid"])
        key, job = _key(raw), job_of_pod(raw)
        before = self._pods.get(key)
        if not self._pods.put(key, _cached_object(raw, (job, view))):
            return NO_JOBS
        if before is not None and before[0] != job:
            self._unlink(before[0], key)
        self._pods_of[job].add(key)
        return frozenset({job, before[0]}) if before else frozenset({job})

    def _drop_pod(self, key: Key, uid: str) -> JobKeys:
        before = self._pods.get(key)
        if not self._pods.drop(key, uid):
            return NO_JOBS
        assert before is not None
        self._unlink(before[0], key)
        return frozenset({before[0]})

    def _unlink(self, job: JobKey, pod: Key) -> None:
        self._pods_of[job].discard(pod)
        if not self._pods_of[job]:
            del self._pods_of[job]

    def _users_of_profiles(self) -> JobKeys:
        """Return all unfinished jobs: profiles are few and change rarely."""
        return frozenset(self.unfinished())


def _job_key(kind: ResourceKind, key: Key) -> JobKey:
    return JobKey(*key, "SweepJob" if kind is SWEEPS else "TrainingJob")


def _key(raw: RawObject) -> Key:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _cached_object(raw: RawObject, value: Any) -> CachedObject[Any]:
    metadata = raw["metadata"]
    return CachedObject(uid=metadata["uid"], version=int(metadata["resourceVersion"]), value=value)


def _union(parts: Iterable[JobKeys]) -> JobKeys:
    return frozenset().union(*parts)
