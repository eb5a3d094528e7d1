"""The settings of a running attempt: the job as recorded in the environment of its driver pod.

Edits of a job during an attempt apply to the next one, and the status says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from seedbed_api.job_kinds import MODELS, JobSpec
from seedbed_api.pod_contract import env_vars
from seedbed_api.strict_json import parse_json
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
"""Fields that may change at any time and that a driver reads once."""


def settings_of(spec: JobSpec) -> tuple[tuple[str, Any], ...]:
    """Return the settings of a job by path."""
    plain = spec.plain()
    return tuple((path, value) for path in _PATHS if (value := _at(plain, path)) is not None)


def with_recorded_settings(
    template: RecordedTemplate | None, pod_spec: Mapping[str, Any]
) -> RecordedTemplate | None:
    """Return a recorded template with the job in the driver's environment; unchanged if it is unreadable."""
    document = _recorded_job(pod_spec)
    spec = _spec(document) if template is not None and document is not None else None
    if template is None or spec is None:
        return template
    ranks = (spec.fewest_ranks, spec.most_ranks)
    return replace(template, execution=execution_digest(spec), ranks=ranks, settings=settings_of(spec))


def _recorded_job(pod_spec: Mapping[str, Any]) -> str | None:
    """Return the job document without the doubled dollars that prevent expansion."""
    boxes = (box for box in pod_spec.get("containers") or () if box.get("name") == "driver")
    entries = (entry for box in boxes for entry in box.get("env") or ())
    value = next((entry.get("value") for entry in entries if entry.get("name") == env_vars.JOB), None)
    return value.replace("$$", "$") if isinstance(value, str) else None


@lru_cache(maxsize=CACHE_SIZE)
def _spec(document: str) -> JobSpec | None:
    try:
        job = parse_json(document)
        return MODELS[job["kind"]].model_validate(job).spec
    except (ValueError, KeyError, TypeError, ValidationError):
        return None


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
