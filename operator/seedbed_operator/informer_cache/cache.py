"""Cache of jobs, pods and profiles with an index of pods by job; each change returns the jobs it affects."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar, cast

from cachetools import FIFOCache

from seedbed_api.job_kinds import JobKind
from seedbed_operator.informer_cache.bounded_fields import object_name, object_version
from seedbed_operator.informer_cache.job_metadata import NOTHING_COPIED, CopiedKeys
from seedbed_operator.informer_cache.object_views import (
    JobRecord,
    job_of_pod,
    job_record,
    pod_view,
    profile_of_job,
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
MOST_TOLD: Final = 1_000

T = TypeVar("T")

log = logging.getLogger(__name__)


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

    def put(self, key: Key, entry: CachedObject[T], *, again: bool = False) -> bool:
        """Store an object unless it was deleted or a newer version is cached; return whether it was.

        `again` stores the cached version once more: another part of it is kept.
        """
        known = self._entries.get(key)
        self._newest = max(self._newest, entry.version)
        if entry.uid in self._tombstones or (known is not None and known.version >= entry.version + again):
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Projection:
    """What is kept of one object; the raw object may be forgotten."""

    kind: ResourceKind
    key: Key
    entry: CachedObject[Any]
    """Without a value: a pod whose labels are not those of a job's pod."""


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
        self.unreadable: Counter[str] = Counter()
        """Objects that could not be read so far, by plural; each counts once for each of its versions."""
        self._told: MutableMapping[tuple[str, str, str], bool] = FIFOCache(MOST_TOLD)

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

    def put(self, kind: ResourceKind, raw: RawObject, *, again: bool = False) -> JobKeys:
        """Store an object from a list, a watch or a response; return the jobs it affects."""
        projection = self.project(kind, raw)
        return NO_JOBS if projection is None else self.store(projection, again=again)

    def project(self, kind: ResourceKind, raw: RawObject) -> Projection | None:
        """Return what is kept of an object; None where it cannot be read. Any thread may call it.

        One object that nobody thought of must not end a list or a watch of all the others.
        """
        try:
            return Projection(kind=kind, key=_key(raw), entry=_cached_object(raw, self._value(kind, raw)))
        except Exception as error:
            self._count_unreadable(kind, raw, error)
            return None

    def store(self, projection: Projection, *, again: bool = False) -> JobKeys:
        """Store what is kept of an object; return the jobs it affects."""
        kind, key, entry = projection.kind, projection.key, projection.entry
        if kind is PODS:
            return self._put_pod(key, entry)
        if kind is PROFILES:
            return self._put_profile(key, entry)
        changed = self._table(kind).put(key, entry, again=again)
        return frozenset({_job_key(kind, key)}) if changed else NO_JOBS

    def lacks_metadata(self, job: JobKey) -> bool:
        """Return whether a job's profile copies what was not kept of its labels and annotations."""
        record = self.job(job)
        copied = record.copied if record is not None else None
        return record is not None and copied not in (None, self._copied_keys(record.profile))

    def _value(self, kind: ResourceKind, raw: RawObject) -> Any:
        if kind is PODS:
            view = pod_view(raw)
            return None if view is None else (job_of_pod(raw), view)
        if kind is PROFILES:
            return profile_view(raw)
        return job_record(raw, _kind_of_job(kind), self._copied_keys(profile_of_job(raw)))

    def _copied_keys(self, profile: str) -> CopiedKeys:
        view = self.profile(profile)
        if view is None or view.spec is None:
            return NOTHING_COPIED
        return CopiedKeys(view.spec.allowed_labels, view.spec.allowed_annotations)

    def _count_unreadable(self, kind: ResourceKind, raw: Any, error: Exception) -> None:
        """Count and log a version of an object once: each relist brings it again."""
        told = (kind.plural, object_name(raw), object_version(raw))
        if told in self._told:
            return
        self._told[told] = True
        self.unreadable[kind.plural] += 1
        log.error(
            "%s %s cannot be read: %s", kind.name, object_name(raw), type(error).__name__, exc_info=error
        )

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

    def shows_rewritten_history(self, projection: Projection, version: int, since: HistoryMark) -> bool:
        """Return whether an object of a list that began at a mark shows a restored backup.

        A pod without our labels counts as deleted.
        """
        kind, key, entry = projection.kind, projection.key, projection.entry
        if kind is PODS and entry.value is None:
            return False
        return self._table(kind).shows_rewritten_history(key, entry, version, since)

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

    def _put_profile(self, key: Key, entry: CachedObject[ProfileView]) -> JobKeys:
        """Store a profile; its status decides about no job."""
        view, before = entry.value, self._profiles.get(key)
        same = before is not None and (before.spec, before.generation) == (view.spec, view.generation)
        return self._users_of_profiles() if self._profiles.put(key, entry) and not same else NO_JOBS

    def _put_pod(self, key: Key, entry: CachedObject[tuple[JobKey, PodView] | None]) -> JobKeys:
        if entry.value is None:
            return self._drop_pod(key, entry.uid)
        job, before = entry.value[0], self._pods.get(key)
        if not self._pods.put(key, cast("CachedObject[tuple[JobKey, PodView]]", entry)):
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


def _kind_of_job(kind: ResourceKind) -> JobKind:
    return "SweepJob" if kind is SWEEPS else "TrainingJob"


def _job_key(kind: ResourceKind, key: Key) -> JobKey:
    return JobKey(*key, _kind_of_job(kind))


def _key(raw: RawObject) -> Key:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _cached_object(raw: RawObject, value: Any) -> CachedObject[Any]:
    metadata = raw["metadata"]
    return CachedObject(uid=metadata["uid"], version=int(metadata["resourceVersion"]), value=value)


def _union(parts: Iterable[JobKeys]) -> JobKeys:
    return frozenset().union(*parts)
