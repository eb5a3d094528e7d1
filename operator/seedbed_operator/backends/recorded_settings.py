"""The settings of a running attempt: the job as recorded in the environment of its driver pod.

Edits of a job during an attempt apply to the next one, and the status says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from pydantic import ValidationError

from seedbed_api.job_kinds import MODELS, JobSpec
from seedbed_api.pod_contract import env_vars
from seedbed_api.strict_json import parse_json
from seedbed_operator.backends.spec_hash import execution_digest
from seedbed_operator.job_observation import RecordedTemplate
from seedbed_operator.parse_cache import ParseCache

MOST_CACHED: Final = 1024 * 1024
"""Characters of documents whose specs are kept."""
LONGEST_DOCUMENT: Final = 256 * 1024
"""A longer one is not ours: a pod's variable of a job has at most 100,000 bytes."""
_SPECS: Final = ParseCache[str, "JobSpec | None"](MOST_CACHED)
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
    boxes = (box for box in _maps(pod_spec.get("containers")) if box.get("name") == "driver")
    entries = (entry for box in boxes for entry in _maps(box.get("env")))
    value = next((entry.get("value") for entry in entries if entry.get("name") == env_vars.JOB), None)
    if not isinstance(value, str) or len(value) > LONGEST_DOCUMENT:
        return None
    return value.replace("$$", "$")


def _maps(value: Any) -> Iterator[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else ()
    return (entry for entry in entries if isinstance(entry, Mapping))


def _spec(document: str) -> JobSpec | None:
    return _SPECS.get(document, len(document), lambda: _parsed_spec(document))


def _parsed_spec(document: str) -> JobSpec | None:
    try:
        job = parse_json(document)
        return MODELS[job["kind"]].model_validate(job).spec
    except (ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return None


def _at(document: Any, path: str) -> Any:
    for name in path.split("."):
        document = document.get(name) if isinstance(document, Mapping) else None
    return document
