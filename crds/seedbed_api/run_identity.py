"""Identities: of a run, from its resolved recipe, and of a trajectory up to a step.

It covers the whole recipe minus EXCLUDED, so a new field of the recipe counts unless it is listed.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, TypeAlias

from seedbed_api.base_model import camel
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import UserError, refusal
from seedbed_api.recipe import Recipe

Resolved: TypeAlias = dict[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ExpectedIdentity:
    """What the first attempt of a job found; a later one finds the same or fails."""

    dataset_digest: str | None = None
    run_id: str | None = None
    environment_class: str | None = None


NOTHING_EXPECTED = ExpectedIdentity()

EXCLUDED = (
    *("dataset.uri", "dataset.secretRef", "dataset.tag"),
    *("model.code.uri", "model.weights.uri", "model.weights.run"),
)
"""Fields of the recipe with locations and credentials, not content. A tag is where a digest was found."""

NOT_OF_A_TRAJECTORY = (
    "evaluation",
    "training.epochs",
    "training.steps",
    "training.learningRateSchedule",
    "training.optimizer.learningRate",
    "training.earlyStopping",
    "training.modelSelection",
)
"""Fields that decide when a training ends, what is measured and which weights are kept, and the schedule of
learning rates, which the digest of the rates replaces."""


def resolve(
    job: Any, *, dataset_digest: str, code_digest: str | None = None, weights_digest: str | None = None
) -> Resolved:
    """Return the resolved recipe of a TrainingJob or Recipe: defaults filled, data and code by digest.

    Raises UserError DatasetChanged or ModelError when a pinned digest is another one.
    """
    recipe: Recipe = getattr(job, "spec", job)
    _refuse_other_dataset(recipe, dataset_digest)
    _refuse_other_code(recipe, code_digest)
    _refuse_other_weights(recipe, weights_digest)
    plain = recipe.plain()
    resolved = {camel(block): plain[camel(block)] for block in Recipe.model_fields}
    resolved["dataset"]["digest"] = dataset_digest
    if code_digest is not None:
        resolved["model"].setdefault("code", {})["digest"] = code_digest
    if recipe.model.weights is not None:
        resolved["model"]["weights"]["digest"] = weights_digest
    return without(resolved, EXCLUDED)


def run_id(resolved: Resolved, *, arithmetic_version: int | str, environment_class: str) -> str:
    """Return the run identity, sha256:<hex>, of a resolved recipe in one environment class."""
    content = {
        "arithmeticVersion": arithmetic_version,
        "environmentClass": environment_class,
        "recipe": resolved,
    }
    return digest_of(canonical_json(content))


def trajectory_id(
    resolved: Resolved,
    *,
    arithmetic_version: int | str,
    environment_class: str,
    learning_rates: Sequence[float],
) -> str:
    """Return the identity of the state after step s, given the learning rates of steps 1..s (float64)."""
    content = {
        "arithmeticVersion": arithmetic_version,
        "environmentClass": environment_class,
        "learningRates": digest_of(struct.pack(f"<{len(learning_rates)}d", *learning_rates)),
        "recipe": without(resolved, NOT_OF_A_TRAJECTORY),
        "steps": len(learning_rates),
    }
    return digest_of(canonical_json(content))


def without(resolved: Resolved, paths: Sequence[str]) -> Resolved:
    """Return a copy of a JSON object without the fields at some dotted paths."""
    kept = deepcopy(resolved)
    for path in paths:
        *parents, name = path.split(".")
        place: Any = kept
        for parent in parents:
            place = place.get(parent, {})
        place.pop(name, None)
    return kept


def _refuse_other_dataset(recipe: Recipe, found: str) -> None:
    pinned = recipe.dataset.digest
    if pinned is not None and pinned != found:
        fix = "restore the dataset or pin its present digest"
        line = refusal("spec.dataset.digest", pinned, f"is not the dataset's digest {found}", fix)
        raise UserError("DatasetChanged", line)


def _refuse_other_code(recipe: Recipe, found: str | None) -> None:
    assert recipe.model.entrypoint is None or found is not None, "user code enters the identity by its digest"
    pinned = recipe.model.code.digest if recipe.model.code else None
    if pinned is not None and pinned != found:
        fix = "restore the code or pin its present digest"
        line = refusal("spec.model.code.digest", pinned, f"is not the code's digest {found}", fix)
        raise UserError("ModelError", line)


def _refuse_other_weights(recipe: Recipe, found: str | None) -> None:
    weights = recipe.model.weights
    assert weights is None or found is not None, "weights enter the identity by their digest"
    if weights is not None and weights.digest not in (None, found):
        fix = "restore the weights or pin their present digest"
        line = refusal(
            "spec.model.weights.digest", weights.digest, f"is not the weights' digest {found}", fix
        )
        raise UserError("ModelError", line)
