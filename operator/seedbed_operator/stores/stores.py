"""The tables of the operator and the index of pods by job; each change tells which jobs it concerns."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from seedbed_operator.cluster.kinds import JOBS, PODS, PROFILES, Kind
from seedbed_operator.cluster.port import Raw
from seedbed_operator.observations import PodView, ProfileView
from seedbed_operator.stores.projections import JOB_LABEL, JobRecord, job_record, pod_view, profile_view
from seedbed_operator.stores.tables import Entry, Key, Table

Keys = frozenset[Key]
"""Jobs whose plan may have changed."""
NONE: Keys = frozenset()


class Stores:
    """Jobs, pods and profiles."""

    def __init__(self) -> None:
        self.jobs: Table[JobRecord] = Table()
        self._pods: Table[tuple[Key, PodView]] = Table()
        self._profiles: Table[ProfileView] = Table()
        self._pods_of: defaultdict[Key, set[Key]] = defaultdict(set)

    def job(self, key: Key) -> JobRecord | None:
        """Return a job."""
        return self.jobs.get(key)

    def pods(self, job: Key) -> tuple[PodView, ...]:
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
        return {kind.plural: len(self._table(kind)) for kind in (JOBS, PODS, PROFILES)}

    def put(self, kind: Kind, raw: Raw) -> Keys:
        """Take over an object from a list, a watch or an answer; return the jobs that it changes."""
        if kind is PODS:
            return self._put_pod(raw)
        if kind is PROFILES:
            changed = self._profiles.put(_key(raw), _entry(raw, profile_view(raw)))
            return self._users_of_profiles() if changed else NONE
        assert kind is JOBS, kind
        key = _key(raw)
        return frozenset({key}) if self.jobs.put(key, _entry(raw, job_record(raw))) else NONE

    def drop(self, kind: Kind, key: Key, uid: str) -> Keys:
        """Forget an object that is deleted; return the jobs that this changes."""
        if kind is PODS:
            return self._drop_pod(key, uid)
        if kind is PROFILES:
            return self._users_of_profiles() if self._profiles.drop(key, uid) else NONE
        assert kind is JOBS, kind
        return frozenset({key}) if self.jobs.drop(key, uid) else NONE

    def drop_ghosts(self, kind: Kind, namespace: str | None, listed: set[str], version: int) -> Keys:
        """Forget what a whole list of a kind did not hold; return the jobs that this changes."""
        scope = namespace if kind.namespaced else None
        ghosts = self._table(kind).ghosts(scope, listed, version)
        return _union(self.drop(kind, key, uid) for key, uid in ghosts)

    def unfinished(self) -> Iterator[Key]:
        """Yield the jobs that are neither complete nor failed."""
        yield from (key for key, entry in self.jobs.items() if not entry.value.finished)

    def _table(self, kind: Kind) -> Table[Any]:
        tables: dict[str, Table[Any]] = {"pods": self._pods, "trainingprofiles": self._profiles}
        return tables.get(kind.plural, self.jobs)

    def _put_pod(self, raw: Raw) -> Keys:
        view = pod_view(raw)
        if view is None:
            return self._drop_pod(_key(raw), raw["metadata"]["uid"])
        key, job = _key(raw), (view.namespace, raw["metadata"]["labels"][JOB_LABEL])
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

    def _unlink(self, job: Key, pod: Key) -> None:
        self._pods_of[job].discard(pod)
        if not self._pods_of[job]:
            del self._pods_of[job]

    def _users_of_profiles(self) -> Keys:
        """Return every job that is not finished: profiles are few and change rarely."""
        return frozenset(self.unfinished())


def _key(raw: Raw) -> Key:
    metadata = raw["metadata"]
    return metadata.get("namespace", ""), metadata["name"]


def _entry(raw: Raw, value: Any) -> Entry[Any]:
    metadata = raw["metadata"]
    return Entry(uid=metadata["uid"], version=int(metadata["resourceVersion"]), value=value)


def _union(parts: Iterable[Keys]) -> Keys:
    return frozenset().union(*parts)
