"""What a driver was told at its start: the job as it was then, which stands in its pod.

An attempt keeps what it began with. What is edited meanwhile is for the next one, and the status says so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from seedbed_api.job_kinds import MODELS, JobSpec
from seedbed_api.pod_contract import env_vars
from seedbed_operator.backends.spec_hash import execution_digest
from seedbed_operator.job_observation import RecordedTemplate

CACHE_SIZE: Final = 256
_PATHS: Final = (
    "cluster.workers.min",
    "cluster.workers.max",
    "cluster.feed",
    "checkpoint.everySteps",
    "checkpoint.keep",
    "parallelTrialCount",
    "workersPerTrial",
)
"""What may change at any time and what a driver reads once."""


def settings_of(spec: JobSpec) -> tuple[tuple[str, Any], ...]:
    """Return the settings of a job by path."""
    plain = spec.plain()
    return tuple((path, value) for path in _PATHS if (value := _at(plain, path)) is not None)


def with_recorded_settings(
    template: RecordedTemplate | None, pod_spec: Mapping[str, Any]
) -> RecordedTemplate | None:
    """Return what a driver's pod notes, and the job that it was told; as it is where that cannot be read."""
    told = _recorded_job(pod_spec)
    spec = _spec(told) if template is not None and told is not None else None
    if template is None or spec is None:
        return template
    ranks = (spec.fewest_ranks, spec.most_ranks)
    return replace(template, execution=execution_digest(spec), ranks=ranks, settings=settings_of(spec))


def _recorded_job(pod_spec: Mapping[str, Any]) -> str | None:
    """Return the document of the job, without the escapes that keep the kubelet from expanding it."""
    boxes = (box for box in pod_spec.get("containers") or () if box.get("name") == "driver")
    entries = (entry for box in boxes for entry in box.get("env") or ())
    value = next((entry.get("value") for entry in entries if entry.get("name") == env_vars.JOB), None)
    return value.replace("$$", "$") if isinstance(value, str) else None


@lru_cache(maxsize=CACHE_SIZE)
def _spec(document: str) -> JobSpec | None:
    try:
        job = json.loads(document)
        return MODELS[job["kind"]].model_validate(job).spec
    except (ValueError, KeyError, TypeError, ValidationError):
        return None


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
