"""From the record of a job to its view: the models judge the spec; a status that they refuse is mended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from seedbed_api.job_kinds import MODELS, STATUSES, JobKind, JobSpec
from seedbed_api.trainingjob_status import LifecycleStatus
from seedbed_api.validation_errors import mistakes
from seedbed_operator.informer_cache.object_projections import JobRecord
from seedbed_operator.job_observation import JobView
from seedbed_operator.kube_client.resource_kinds import KIND_OF

MOST_VIEWS: Final = 64
"""Views that are kept: a pass looks twice at its job where it has to ask for something."""
MOST_SPECS: Final = 256
"""Specs that are kept: most of what a view costs, and unlike the status they stay as they are."""


@lru_cache(maxsize=MOST_VIEWS)
def job_view(record: JobRecord) -> JobView:
    """Return a job as planning sees it."""
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
        invalid=invalid,
        status=readable_status(kept["status"], record.kind),
        managed_by=_managed_by(kept["spec"]),
    )


@lru_cache(maxsize=MOST_SPECS)
def _spec(kind: JobKind, name: str, text: str) -> tuple[JobSpec | None, str | None]:
    document = {
        "apiVersion": KIND_OF[kind].api_version,
        "kind": kind,
        "metadata": {"name": name},
        "spec": json.loads(text),
    }
    model = MODELS[kind]
    try:
        return model.model_validate(document).spec, None
    except ValidationError as error:
        return None, "; ".join(mistakes(error, model))


def _managed_by(spec: Any) -> str | None:
    manager = spec.get("managedBy") if isinstance(spec, Mapping) else None
    return manager if isinstance(manager, str) else None


def readable_status(raw: Any, kind: JobKind = "TrainingJob") -> LifecycleStatus:
    """Return a status without the fields that another hand or another version wrote in another way."""
    fields = dict(raw) if isinstance(raw, Mapping) else {}
    try:
        return STATUSES[kind].model_validate(fields)
    except ValidationError as error:
        unreadable = {found["loc"][0] for found in error.errors()}
    return STATUSES[kind].model_validate({name: fields[name] for name in fields.keys() - unreadable})
