"""Digests of job and profile, recorded as annotations of the driver pod, to find changes during an attempt.

With them an operator that was down notices that a job was suspended, changed and resumed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from seedbed_api.job_kinds import JobSpec
from seedbed_api.pod_contract.labels import (
    EXECUTION_DIGEST_ANNOTATION,
    PROFILE_DIGEST_ANNOTATION,
    WORKERS_PER_POD_ANNOTATION,
)
from seedbed_api.trainingprofile import TrainingProfileSpec
from seedbed_operator.backends.effective_profile import EffectiveProfile
from seedbed_operator.job_observation import RecordedTemplate

_ANNOTATIONS = (EXECUTION_DIGEST_ANNOTATION, PROFILE_DIGEST_ANNOTATION, WORKERS_PER_POD_ANNOTATION)
LONGEST_DIGEST = 64
"""Longer annotations were altered."""
_OF_THE_RECIPE: dict[str, Any] = {
    "dataset": {"uri", "tag", "secret_ref"},
    "model": {"code": {"uri"}, "weights": {"uri", "run"}},
}
_OF_THE_EXECUTION: dict[str, Any] = {"output": True, "cluster": {"profile", "overrides"}}
"""Fields that may change only while a job is suspended; a difference shows a missed suspension."""
_NOT_IN_PODS = {"image", "backend", "max_per_job"} | {
    name for name in TrainingProfileSpec.model_fields if name.startswith("allowed_")
}
"""Fields of a profile that are pinned elsewhere or do not appear in pods."""


def execution_digest(spec: JobSpec) -> str:
    """Return the digest of the execution; defaults and empty blocks do not count.

    So a field that a newer version adds is no change.
    """
    parts = ((spec.recipe, _OF_THE_RECIPE), (spec, _OF_THE_EXECUTION))
    recipe, execution = (
        block.model_dump(mode="json", include=names, exclude_defaults=True) for block, names in parts
    )
    return _digest({**recipe, **{name: value for name, value in execution.items() if value != {}}})


def profile_digest(profile: TrainingProfileSpec) -> str:
    """Return the digest of the fields of a profile that appear in pods."""
    return _digest(profile.model_dump(mode="json", exclude=_NOT_IN_PODS, exclude_defaults=True))


def driver_annotations(effective: EffectiveProfile) -> dict[str, str]:
    """Return the annotations of a driver pod."""
    return {
        EXECUTION_DIGEST_ANNOTATION: execution_digest(effective.spec),
        PROFILE_DIGEST_ANNOTATION: profile_digest(effective.profile),
        WORKERS_PER_POD_ANNOTATION: str(effective.workers_per_pod),
    }


def recorded_template(annotations: Mapping[str, Any]) -> RecordedTemplate | None:
    """Return the recorded digests; None where they were altered or an older version made the pod."""
    execution, profile, ranks = (str(annotations.get(name) or "")[:LONGEST_DIGEST] for name in _ANNOTATIONS)
    if not (execution and profile and ranks.isascii() and ranks.isdigit() and 1 <= len(ranks) <= 4):
        return None
    return RecordedTemplate(
        execution=execution,
        profile=profile,
        workers_per_pod=max(int(ranks), 1),
    )


def _digest(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
