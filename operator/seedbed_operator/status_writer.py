"""Write the status of a job or profile where it changed, and send Kubernetes Events."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import uuid4

from cachetools import FIFOCache

from seedbed_api.conditions import ConditionType
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.client_interface import ApiError, ApiStatusError, KubeClient, RawObject
from seedbed_operator.kube_client.resource_kinds import EVENTS, KIND_OF_JOB, PROFILES, JobKey
from seedbed_operator.plan import JobEvent
from seedbed_operator.planning.profile_condition import profile_status

CONTROLLER: Final = "seedbed.dev/operator"
MAX_NOTE_BYTES: Final = 1024
EVENT_INTERVAL: Final = timedelta(minutes=10)
"""The same Event about a job is sent at most once in this time."""
MAX_REMEMBERED_EVENTS: Final = 10_000

log = logging.getLogger(__name__)


class StatusConflict(Exception):  # noqa: N818 - control flow, not a failure
    """The job has changed since it was observed: nothing was written; plan again."""


def merge_patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch (RFC 7386) from one object to another."""
    patch: dict[str, Any] = {name: None for name in old if name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            if inner := merge_patch(before, value):
                patch[name] = inner
        elif name not in old or before != value or _spelled(before) != _spelled(value):
            patch[name] = value
    return patch


def _spelled(value: Any) -> str:
    """Return JSON: for Python, but not for the API server, true equals 1."""
    return json.dumps(value, sort_keys=True)


def status_patch(stored: Mapping[str, Any], status: LifecycleStatus) -> dict[str, Any]:
    """Return the patch of a stored status; empty where it is equal. An empty list equals none."""
    return merge_patch(_without_empty_lists(stored), _without_empty_lists(status.plain()))


def _without_empty_lists(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value != []}


class StatusWriter:
    """Writes statuses and sends Events."""

    def __init__(
        self,
        cluster: KubeClient,
        cache: InformerCache,
        instance: str,
        written: Callable[[JobView, JobView], None] = lambda before, after: None,  # noqa: ARG005
    ) -> None:
        """`written` is called with the job before and after each status write."""
        self._cluster = cluster
        self._cache = cache
        self._instance = instance
        self._written = written
        self._announced: MutableMapping[tuple[str, str, str], datetime] = FIFOCache(MAX_REMEMBERED_EVENTS)

    async def write(self, job: JobView, stored: Mapping[str, Any], status: LifecycleStatus) -> bool:
        """Write a status if it differs and return whether; raise StatusConflict where the job changed."""
        patch = status_patch(stored, status)
        if not patch:
            return False
        try:
            written = await self._cluster.patch_status(
                KIND_OF_JOB[job.kind],
                job.namespace,
                job.name,
                resource_version=job.resource_version,
                patch=patch,
            )
        except ApiError as error:
            await self._refresh_on_conflict(job, error)
            raise StatusConflict(str(error)) from error
        self._cache.put(KIND_OF_JOB[job.kind], written)
        _log_transition(job.status, status)
        version = written["metadata"]["resourceVersion"]
        self._written(job, replace(job, status=status, resource_version=version))
        return True

    async def _refresh_on_conflict(self, job: JobView, error: ApiError) -> None:
        """Refresh the cached job after a conflict; raise any other error."""
        error.write = f"the status of {job.kind} {job.name}"
        if not isinstance(error, ApiStatusError):
            raise error
        await self._refresh(job, error)

    async def _refresh(self, job: JobView, refused: ApiStatusError) -> None:
        """Read the job again: the watch may be late."""
        if not refused.not_found and refused.code != 409:
            raise refused
        await self.read_again(JobKey(job.namespace, job.name, job.kind), job.uid)

    async def read_again(self, job: JobKey, uid: str) -> None:
        """Read a job from the API server, and forget it where it is gone."""
        kind, key = KIND_OF_JOB[job.kind], job[:2]
        try:
            self._cache.put(kind, await self._cluster.get(kind, *key), again=True)
        except ApiStatusError as gone:
            if not gone.not_found:
                raise
            self._cache.drop(kind, key, uid)

    async def send_events(self, job: JobView, events: Iterable[JobEvent], now: datetime) -> None:
        """Send Events that were not sent recently; log those that cannot be sent."""
        for announcement in events:
            if self._is_new(job, announcement, now):
                try:
                    await self._cluster.create(
                        EVENTS, job.namespace, event_object(job, announcement, now, self._instance)
                    )
                except ApiError as error:
                    log.warning("cannot create Event %s: %s", announcement.reason, error)

    def _is_new(self, job: JobView, announcement: JobEvent, now: datetime) -> bool:
        said = (job.uid, announcement.reason, announcement.message)
        last = self._announced.get(said)
        if last is not None and now - last < EVENT_INTERVAL:
            return False
        self._announced[said] = now
        return True


async def write_profile_statuses(cluster: KubeClient, cache: InformerCache, now: datetime) -> None:
    """Write the status of each profile that has another one; what fails is tried again by the next call."""
    for profile in cache.profiles():
        patch = merge_patch(profile.status.plain(), profile_status(profile, now).plain())
        if not patch:
            continue
        version = profile.resource_version
        try:
            written = await cluster.patch_status(
                PROFILES, "", profile.name, resource_version=version, patch=patch
            )
        except ApiError as error:
            log.log(_level(error), "cannot write the status of TrainingProfile %s: %s", profile.name, error)
            continue
        cache.put(PROFILES, written)


def _level(error: ApiError) -> int:
    """Return how to log an error: a profile that was just changed or deleted is nothing to tell of."""
    stale = isinstance(error, ApiStatusError) and (error.code == 409 or error.not_found)
    return logging.DEBUG if stale else logging.WARNING


def _log_transition(before: LifecycleStatus, status: LifecycleStatus) -> None:
    """Log a new reason of the Running condition."""
    old, new = before.condition(ConditionType.RUNNING), status.condition(ConditionType.RUNNING)
    if new is not None and (old is None or old.reason != new.reason):
        log.info("%s: %s", new.reason, new.message, extra={"attempt": status.attempts})


def event_object(job: JobView, announcement: JobEvent, now: datetime, instance: str) -> RawObject:
    """Return an Event object about a job."""
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.name,
        "metadata": {"name": f"{job.name}.{uuid4().hex[:16]}", "namespace": job.namespace},
        "type": announcement.type,
        "reason": announcement.reason,
        "action": announcement.action,
        "note": _truncate_note(announcement.message),
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": CONTROLLER,
        "reportingInstance": instance[:128],
        "regarding": {
            "apiVersion": KIND_OF_JOB[job.kind].api_version,
            "kind": job.kind,
            "namespace": job.namespace,
            "name": job.name,
            "uid": job.uid,
            "resourceVersion": job.resource_version,
        },
    }


def _truncate_note(note: str) -> str:
    """Return a note of at most 1,024 bytes."""
    content = note.encode()
    return (
        note
        if len(content) <= MAX_NOTE_BYTES
        else content[: MAX_NOTE_BYTES - 3].decode(errors="ignore") + "…"
    )
