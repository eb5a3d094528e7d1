"""Convert raw API objects to records and views of jobs, pods and profiles; invalid fields are tolerated."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from sys import intern
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from seedbed_api.errors import refusal
from seedbed_api.job_kinds import MODELS, STATUSES, JobKind, JobSpec
from seedbed_api.pod_contract.labels import (
    ATTEMPT_LABEL,
    JOB_LABEL,
    JOB_UID_LABEL,
    KIND_LABEL,
    ROLE_LABEL,
    Role,
)
from seedbed_api.timestamps import parse_time
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_api.trainingprofile import TrainingProfile, TrainingProfileSpec, TrainingProfileStatus
from seedbed_api.validation_errors import error_lines
from seedbed_operator.backends.kueue_pod_group import gang_size
from seedbed_operator.backends.recorded_settings import with_recorded_settings
from seedbed_operator.backends.spec_hash import recorded_template
from seedbed_operator.informer_cache.bounded_fields import (
    LONGEST_IMAGE,
    LONGEST_NAME,
    integer,
    mapping,
    mappings,
    text,
)
from seedbed_operator.informer_cache.job_metadata import (
    NOTHING_COPIED,
    CopiedKeys,
    job_metadata,
    kept_finalizers,
)
from seedbed_operator.informer_cache.pod_containers import (
    container_status,
    injected_containers,
    terminated_state,
    waiting_cause,
)
from seedbed_operator.informer_cache.status_repair import without_unreadable
from seedbed_operator.job_observation import JobView, PodView, ProfileView, RecordedTemplate
from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import KIND_OF_JOB, PODS, PROFILES, JobKey
from seedbed_operator.parse_cache import ParseCache

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
MOST_SPEC_BYTES: Final = 128 * 1024
"""A spec with more bytes of JSON is not kept; pods of one with 100,000 are refused."""
MOST_STATUS_BYTES: Final = 512 * 1024
"""The definitions allow less; only another writer's unknown fields can be more."""
COMPRESSED_FROM: Final = 4 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A cached job: its identity, and the rest as compact JSON that `job_view` parses."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    finished: bool
    content: bytes
    """JSON of metadata (generation, creationTimestamp, deleting, labels …), spec and status; compressed
    where that is worth it."""
    kind: JobKind = "TrainingJob"
    size: int = 0
    """Bytes of the content before compression."""
    profile: str = ""
    """Name of its profile."""
    copied: CopiedKeys | None = None
    """What the profile copied to pods when large metadata was reduced to that; None where all is kept."""

    def document(self) -> dict[str, Any]:
        """Return the parsed content."""
        text = self.content if self.content.startswith(b"{") else zlib.decompress(self.content)
        document: dict[str, Any] = json.loads(text)
        return document


def job_record(
    raw: RawObject, kind: JobKind = "TrainingJob", copied: CopiedKeys = NOTHING_COPIED
) -> JobRecord:
    """Return the cached record of a job whose profile copies these keys to pods."""
    metadata, status, spec = raw["metadata"], raw.get("status") or {}, raw.get("spec")
    entries = job_metadata(metadata, copied)
    kept = {
        "generation": integer(metadata.get("generation"), least=0, most=2**53 - 1),
        "created": metadata.get("creationTimestamp"),
        "deleting": "deletionTimestamp" in metadata,
        "finalizers": kept_finalizers(metadata),
        "labels": entries.labels,
        "annotations": entries.annotations,
        "metadataProblem": entries.problem,
        "spec": spec,
        "specProblem": None,
        "status": status,
    }
    content = _json(kept)
    if len(content) > MOST_SPEC_BYTES:  # no part of a smaller one is above its bound
        content = _json(kept | _bounded_parts(spec, status))
    return JobRecord(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        finished=isinstance(status, Mapping) and "completionTime" in status,
        content=_compressed(content),
        size=len(content),
        kind=kind,
        profile=intern(profile_of_job(raw)),
        copied=None if entries.complete else copied,
    )


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")


def _compressed(content: bytes) -> bytes:
    return content if len(content) < COMPRESSED_FROM else zlib.compress(content, level=1)


def _bounded_parts(spec: Any, status: Any) -> dict[str, Any]:
    """Return spec and status without what is above its bound, and what is wrong with the spec."""
    problem = _too_large(spec)
    return {
        "spec": spec if problem is None else {"managedBy": _managed_by(spec)},
        "specProblem": problem,
        "status": status if len(_json(status)) <= MOST_STATUS_BYTES else {},
    }


def _too_large(spec: Any) -> str | None:
    size = len(_json(spec))
    if size <= MOST_SPEC_BYTES:
        return None
    problem = f"is larger than {MOST_SPEC_BYTES} bytes of JSON"
    return refusal("spec", f"{size} bytes", problem, "shorten its longest lists")


def profile_of_job(raw: RawObject) -> str:
    """Return the name of the profile in a raw job; empty where it names none."""
    cluster = mapping(mapping(raw.get("spec")).get("cluster"))
    return text(cluster.get("profile") or "default", LONGEST_NAME)


def profile_view(raw: RawObject) -> ProfileView:
    """Return the view of a TrainingProfile."""
    metadata = raw["metadata"]
    spec, invalid = _profile_spec(metadata["name"], raw.get("spec"))
    return ProfileView(
        name=metadata["name"],
        generation=metadata.get("generation", 0),
        spec=spec,
        spec_error=invalid,
        resource_version=metadata["resourceVersion"],
        status=_profile_status(raw.get("status")),
    )


def _profile_status(status: Any) -> TrainingProfileStatus:
    """Return the status of a profile; an empty one where another client wrote it in an unknown form."""
    try:
        return TrainingProfileStatus.model_validate(status or {})
    except ValidationError:
        return TrainingProfileStatus()


def _profile_spec(name: str, spec: Any) -> tuple[TrainingProfileSpec | None, str | None]:
    """Validate the whole document, so that errors name full paths."""
    document = {"metadata": {"name": name}, "spec": spec}
    document |= {"apiVersion": PROFILES.api_version, "kind": PROFILES.name}
    try:
        return TrainingProfile.model_validate(document).spec, None
    except ValidationError as error:
        return None, "; ".join(error_lines(error, TrainingProfile))


def job_of_pod(raw: RawObject) -> JobKey:
    """Return the job that a pod's labels name."""
    metadata = raw["metadata"]
    kind: JobKind = "SweepJob" if metadata["labels"].get(KIND_LABEL) == "SweepJob" else "TrainingJob"
    return JobKey(metadata["namespace"], metadata["labels"][JOB_LABEL], kind)


def pod_view(raw: RawObject) -> PodView | None:
    """Return the view of a pod; None where its labels are not those of a job's pod."""
    metadata, spec, status = raw["metadata"], mapping(raw.get("spec")), mapping(raw.get("status"))
    labels = mapping(metadata.get("labels"))
    role, attempt = labels.get(ROLE_LABEL), _attempt(labels.get(ATTEMPT_LABEL))
    if role not in _ROLES or attempt is None or not isinstance(labels.get(JOB_LABEL), str):
        return None
    conditions = {text(entry.get("type")): entry for entry in mappings(status.get("conditions"))}
    scheduled = conditions.get("PodScheduled", {})
    container = container_status(status, str(role))
    state = mapping(container.get("state"))
    others = injected_containers(spec, status, str(role))
    return PodView(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        job_uid=text(labels.get(JOB_UID_LABEL), LONGEST_NAME),
        role=cast("Role", intern(str(role))),
        attempt=attempt,
        index=_index(metadata["name"]) if role == "worker" else 0,
        owner_uid=controller_uid(raw),
        created=parse_time(metadata.get("creationTimestamp")) or _EPOCH,
        deleting="deletionTimestamp" in metadata,
        deletion_due=parse_time(metadata.get("deletionTimestamp")),
        phase=_phase(status, state),
        node=intern(text(spec.get("nodeName"), LONGEST_NAME)) or None,
        ip=text(status.get("podIP"), LONGEST_NAME) or None,
        ready=conditions.get("Ready", {}).get("status") == "True",
        scheduled=parse_time(scheduled.get("lastTransitionTime")) if _is_true(scheduled) else None,
        unschedulable=_unschedulable(scheduled),
        gated=scheduled.get("reason") == "SchedulingGated",
        started=_started(state),
        disruption=_disruption(conditions),
        reason=text(status.get("reason"), LONGEST_NAME),
        message=text(status.get("message")),
        waiting=waiting_cause(state, others),
        terminated=terminated_state(state),
        injected_containers=others,
        image_id=intern(text(container.get("imageID"), LONGEST_IMAGE)),
        template=_shape(metadata, spec) if role == "driver" else None,
        gang_size=gang_size(metadata),
        deletion_grace=_grace(metadata, spec),
    )


_ROLES: Final = ("driver", "worker", "verifier", "signature-uploader")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_GRACE: Final = 31_536_000


def _is_true(condition: RawObject) -> bool:
    return condition.get("status") == "True"


def _shape(metadata: RawObject, spec: RawObject) -> RecordedTemplate | None:
    return with_recorded_settings(recorded_template(mapping(metadata.get("annotations"))), spec)


def _grace(metadata: RawObject, spec: RawObject) -> int:
    """Return the grace period of a pod in seconds, at most a year; that of its deletion comes first."""
    own = integer(spec.get("terminationGracePeriodSeconds"), least=0, most=_LONGEST_GRACE, default=30)
    return integer(metadata.get("deletionGracePeriodSeconds"), least=0, most=_LONGEST_GRACE, default=own)


def _attempt(label: Any) -> int | None:
    digits = text(label, 10)
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else None


def _index(name: str) -> int:
    end = name.rpartition("-")[2]
    return int(end) if end.isascii() and end.isdigit() and len(end) <= 9 else 0


def controller_uid(raw: RawObject) -> str | None:
    """Return the uid of an object's controller, or of the pod that owns it without being one (ADR 19)."""
    owners = tuple(mappings(raw["metadata"].get("ownerReferences")))
    pods = (owner for owner in owners if owner.get("kind") == PODS.name and owner.get("apiVersion") == "v1")
    controllers = (owner for owner in owners if owner.get("controller"))
    found = (text(owner.get("uid"), LONGEST_NAME) for owner in (*controllers, *pods))
    return next((uid for uid in found if uid), None)


_PHASES: Final = ("Pending", "Running", "Succeeded", "Failed", "Unknown")


def _phase(status: RawObject, state: RawObject) -> Phase:
    """Return the phase; Kubernetes says Pending while another container cannot start although ours runs."""
    phase = status.get("phase") or "Pending"
    if phase == "Pending" and state.get("running"):
        return "Running"
    return cast("Phase", phase) if phase in _PHASES else "Unknown"


def _started(state: RawObject) -> datetime | None:
    running, terminated = mapping(state.get("running")), mapping(state.get("terminated"))
    return parse_time(running.get("startedAt") or terminated.get("startedAt"))


def _unschedulable(condition: RawObject) -> str | None:
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return text(condition.get("message"))
    return None


_DISRUPTIONS = ("DisruptionTarget", "TerminationTarget")
"""Conditions: Kubernetes' own, and that of Kueue where it takes back what it had admitted."""


def _disruption(conditions: Mapping[str, RawObject]) -> str | None:
    found = (conditions.get(kind, {}) for kind in _DISRUPTIONS)
    reasons = (text(each.get("reason"), LONGEST_NAME) or "Unknown" for each in found if _is_true(each))
    return next(reasons, None)


MOST_VIEW_BYTES: Final = 1024 * 1024
"""A reconcile that collects evidence reads the view twice."""
MOST_SPEC_TEXT: Final = 1024 * 1024
"""Parsing the spec is most of a view's cost, and specs rarely change. Both bounds are of text: one large spec
takes the room of many."""


_SPEC_CACHE: Final = ParseCache[tuple[JobKind, str, str], tuple[JobSpec | None, str | None]](MOST_SPEC_TEXT)
_VIEW_CACHE: Final = ParseCache[JobRecord, JobView](MOST_VIEW_BYTES)


def job_view(record: JobRecord) -> JobView:
    """Return the parsed view of a job."""
    return _VIEW_CACHE.get(record, record.size, lambda: _job_view(record))


def _job_view(record: JobRecord) -> JobView:
    kept = record.document()
    spec, invalid = (None, kept["specProblem"]) if kept["specProblem"] else _spec(record, kept["spec"])
    return JobView(
        kind=record.kind,
        namespace=record.namespace,
        name=record.name,
        uid=record.uid,
        resource_version=record.resource_version,
        generation=kept["generation"],
        created=parse_time(kept["created"]) or _EPOCH,
        deleting=kept["deleting"],
        finalizers=tuple(kept["finalizers"]),
        labels=kept["labels"],
        annotations=kept["annotations"],
        metadata_problem=kept["metadataProblem"],
        spec=spec,
        spec_error=invalid,
        status=readable_status(kept["status"], record.kind),
        managed_by=_managed_by(kept["spec"]),
    )


def _spec(record: JobRecord, spec: Any) -> tuple[JobSpec | None, str | None]:
    written = json.dumps(spec)
    key = (record.kind, record.name, written)
    return _SPEC_CACHE.get(key, len(written), lambda: _validated_spec(record.kind, record.name, spec))


def _validated_spec(kind: JobKind, name: str, spec: Any) -> tuple[JobSpec | None, str | None]:
    metadata = {"name": name}
    document = {"apiVersion": KIND_OF_JOB[kind].api_version, "kind": kind, "metadata": metadata, "spec": spec}
    model = MODELS[kind]
    try:
        return model.model_validate(document).spec, None
    except ValidationError as error:
        return None, "; ".join(error_lines(error, model))


def _managed_by(spec: Any) -> str | None:
    return text(mapping(spec).get("managedBy"), LONGEST_NAME) or None


MOST_REPAIRS: Final = 16


def readable_status(raw: Any, kind: JobKind = "TrainingJob") -> LifecycleStatus:
    """Return a status without what another client or version wrote in an unknown form: that value alone, the
    entry of a list that needs it, or else its whole field.
    """
    model, fields = STATUSES[kind], dict(mapping(raw))
    for _ in range(MOST_REPAIRS):
        try:
            return model.model_validate(fields)
        except ValidationError as error:
            fields = without_unreadable(fields, [found["loc"] for found in error.errors()])
    return _whole_fields(model, fields)


def _whole_fields(model: type[LifecycleStatus], fields: Mapping[str, Any]) -> LifecycleStatus:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        unreadable = {found["loc"][0] for found in error.errors()}
    return model.model_validate({name: fields[name] for name in fields.keys() - unreadable})
