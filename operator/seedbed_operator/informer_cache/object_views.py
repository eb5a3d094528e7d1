"""Convert raw API objects to records and views of jobs, pods and profiles; invalid fields are tolerated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from sys import intern
from typing import Any, Final, Literal, cast

from pydantic import ValidationError

from seedbed_api.job_kinds import MODELS, STATUSES, JobKind, JobSpec
from seedbed_api.pod_contract.labels import (
    ATTEMPT_LABEL,
    JOB_LABEL,
    JOB_UID_LABEL,
    KIND_LABEL,
    ROLE_LABEL,
    Role,
)
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_api.trainingprofile import TrainingProfile, TrainingProfileSpec, TrainingProfileStatus
from seedbed_api.validation_errors import error_lines
from seedbed_operator.backends.kueue_pod_group import gang_size
from seedbed_operator.backends.recorded_settings import with_recorded_settings
from seedbed_operator.backends.spec_hash import recorded_template
from seedbed_operator.informer_cache.pod_containers import (
    container_status,
    injected_containers,
    parse_time,
    terminated_state,
    waiting_cause,
)
from seedbed_operator.job_observation import JobView, PodView, ProfileView, RecordedTemplate
from seedbed_operator.kube_client.client_interface import RawObject
from seedbed_operator.kube_client.resource_kinds import KIND_OF_JOB, PODS, PROFILES, JobKey

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]
_DROPPED_ANNOTATIONS = ("kubectl.kubernetes.io/last-applied-configuration",)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A cached job: its identity, and the rest as compact JSON that `job_view` parses."""

    namespace: str
    name: str
    uid: str
    resource_version: str
    finished: bool
    content: bytes
    """JSON of metadata (generation, creationTimestamp, deleting, labels …), spec and status."""
    kind: JobKind = "TrainingJob"


def job_record(raw: RawObject, kind: JobKind = "TrainingJob") -> JobRecord:
    """Return the cached record of a job."""
    metadata, status = raw["metadata"], raw.get("status") or {}
    kept = {
        "generation": metadata.get("generation", 0),
        "created": metadata.get("creationTimestamp"),
        "deleting": "deletionTimestamp" in metadata,
        "finalizers": metadata.get("finalizers") or [],
        "labels": metadata.get("labels") or {},
        "annotations": _without(metadata.get("annotations") or {}, _DROPPED_ANNOTATIONS),
        "spec": raw.get("spec"),
        "status": status,
    }
    return JobRecord(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        finished=isinstance(status, Mapping) and "completionTime" in status,
        content=json.dumps(kept, separators=(",", ":")).encode(),
        kind=kind,
    )


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in names}


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
    metadata, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    labels = metadata.get("labels") or {}
    role, attempt = labels.get(ROLE_LABEL), _attempt(labels.get(ATTEMPT_LABEL, ""))
    if role not in ("driver", "worker", "verifier") or attempt is None or JOB_LABEL not in labels:
        return None
    conditions = {str(entry.get("type")): entry for entry in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    container = container_status(status, str(role))
    state = container.get("state") or {}
    others = injected_containers(spec, status, str(role))
    return PodView(
        namespace=intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        job_uid=str(labels.get(JOB_UID_LABEL, "")),
        role=cast("Role", intern(str(role))),
        attempt=attempt,
        index=_index(metadata["name"]) if role == "worker" else 0,
        owner_uid=controller_uid(raw),
        created=parse_time(metadata.get("creationTimestamp")) or _EPOCH,
        deleting="deletionTimestamp" in metadata,
        deletion_due=parse_time(metadata.get("deletionTimestamp")),
        phase=cast("Phase", intern(_phase(status, state))),
        node=intern(spec["nodeName"]) if spec.get("nodeName") else None,
        ip=status.get("podIP"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        scheduled=parse_time(scheduled.get("lastTransitionTime"))
        if scheduled.get("status") == "True"
        else None,
        unschedulable=_unschedulable(scheduled),
        gated=scheduled.get("reason") == "SchedulingGated",
        started=_started(state),
        disruption=_disruption(conditions),
        reason=str(status.get("reason") or ""),
        message=str(status.get("message") or ""),
        waiting=waiting_cause(state, others),
        terminated=terminated_state(state),
        injected_containers=others,
        image_id=intern(str(container.get("imageID") or "")[:MOST_IMAGE_TEXT]),
        template=_shape(metadata, spec) if role == "driver" else None,
        gang_size=gang_size(metadata),
        deletion_grace=_grace(metadata, spec),
    )


MOST_IMAGE_TEXT: Final = 512
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def _shape(metadata: RawObject, spec: RawObject) -> RecordedTemplate | None:
    return with_recorded_settings(recorded_template(metadata.get("annotations") or {}), spec)


def _grace(metadata: RawObject, spec: RawObject) -> int:
    """Return the grace period of a pod in seconds; that of its deletion comes first."""
    own = spec.get("terminationGracePeriodSeconds")
    return int(metadata.get("deletionGracePeriodSeconds", 30 if own is None else own))


def _attempt(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def _index(name: str) -> int:
    end = name.rpartition("-")[2]
    return int(end) if end.isascii() and end.isdigit() and len(end) <= 9 else 0


def controller_uid(raw: RawObject) -> str | None:
    """Return the uid of an object's controller, or of the pod that owns it without being one (ADR 19)."""
    owners = raw["metadata"].get("ownerReferences") or ()
    pods = (owner for owner in owners if owner.get("kind") == PODS.name and owner.get("apiVersion") == "v1")
    controllers = (owner for owner in owners if owner.get("controller"))
    return next((str(owner["uid"]) for owner in (*controllers, *pods)), None)


def _phase(status: RawObject, state: RawObject) -> str:
    """Return the phase; Kubernetes says Pending while another container cannot start although ours runs."""
    phase = str(status.get("phase") or "Pending")
    return "Running" if phase == "Pending" and state.get("running") else phase


def _started(state: RawObject) -> datetime | None:
    running, terminated = state.get("running") or {}, state.get("terminated") or {}
    return parse_time(running.get("startedAt") or terminated.get("startedAt"))


def _unschedulable(condition: RawObject) -> str | None:
    if condition.get("status") == "False" and condition.get("reason") == "Unschedulable":
        return str(condition.get("message") or "")
    return None


_DISRUPTIONS = ("DisruptionTarget", "TerminationTarget")
"""Conditions: Kubernetes' own, and that of Kueue where it takes back what it had admitted."""


def _disruption(conditions: Mapping[str, RawObject]) -> str | None:
    found = (conditions.get(kind, {}) for kind in _DISRUPTIONS)
    return next(
        (str(each.get("reason") or "Unknown") for each in found if each.get("status") == "True"), None
    )


MOST_VIEWS: Final = 64
"""A reconcile that collects evidence reads the view twice."""
MOST_SPECS: Final = 256
"""Parsing the spec is most of a view's cost, and specs rarely change."""


@lru_cache(maxsize=MOST_VIEWS)
def job_view(record: JobRecord) -> JobView:
    """Return the parsed view of a job."""
    kept = json.loads(record.content)
    spec, invalid = _spec(record.kind, record.name, json.dumps(kept["spec"]))
    return JobView(
        kind=record.kind,
        namespace=record.namespace,
        name=record.name,
        uid=record.uid,
        resource_version=record.resource_version,
        generation=kept["generation"],
        created=datetime.fromisoformat(kept["created"]),
        deleting=kept["deleting"],
        finalizers=tuple(kept["finalizers"]),
        labels=kept["labels"],
        annotations=kept["annotations"],
        spec=spec,
        spec_error=invalid,
        status=readable_status(kept["status"], record.kind),
        managed_by=_managed_by(kept["spec"]),
    )


@lru_cache(maxsize=MOST_SPECS)
def _spec(kind: JobKind, name: str, text: str) -> tuple[JobSpec | None, str | None]:
    document = {
        "apiVersion": KIND_OF_JOB[kind].api_version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": json.loads(text),
    }
    model = MODELS[kind]
    try:
        return model.model_validate(document).spec, None
    except ValidationError as error:
        return None, "; ".join(error_lines(error, model))


def _managed_by(spec: Any) -> str | None:
    manager = spec.get("managedBy") if isinstance(spec, Mapping) else None
    return manager if isinstance(manager, str) else None


def readable_status(raw: Any, kind: JobKind = "TrainingJob") -> LifecycleStatus:
    """Return a status without fields that another client or version wrote in an unknown form."""
    fields = dict(raw) if isinstance(raw, Mapping) else {}
    try:
        return STATUSES[kind].model_validate(fields)
    except ValidationError as error:
        unreadable = {found["loc"][0] for found in error.errors()}
    return STATUSES[kind].model_validate({name: fields[name] for name in fields.keys() - unreadable})
