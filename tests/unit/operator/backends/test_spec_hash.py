"""What is noted on a driver: read back as it was written, the same for what makes the same pods."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.immutability import immutable_recipe_fields, rejected_changes
from seedbed_api.trainingjob import TrainingJobSpec
from seedbed_operator.backends import spec_hash
from seedbed_operator.backends.backend_interface import DesiredAttempt
from seedbed_operator.backends.effective_profile import effective_profile
from seedbed_operator.backends.pod_env import driver_environment
from seedbed_operator.backends.recorded_settings import settings_of, with_recorded_settings
from seedbed_operator.backends.spec_hash import (
    driver_annotations,
    execution_digest,
    recorded_template,
)
from support.operator.builders import a_profile, a_recipe, a_sweep_job, a_training_job


def test_what_is_noted_is_read_again() -> None:
    offer = effective_profile(a_training_job().build(), a_profile(worker={"workersPerPod": 4}))
    template = recorded_template({**driver_annotations(offer), "other": "x"})
    assert template is not None
    assert (template.execution, template.profile, template.workers_per_pod) == tuple(
        int(value) if value == "4" else value for value in driver_annotations(offer).values()
    )


EXECUTION, PROFILE, RANKS = (
    "seedbed.dev/execution-digest",
    "seedbed.dev/profile-digest",
    "seedbed.dev/workers-per-pod",
)
GOOD = {EXECUTION: "a", PROFILE: "b", RANKS: "2"}


def told(spec: dict[str, Any] | None = None, **given: Any) -> dict[str, Any]:
    """Return the spec of a driver's pod that was told a job."""
    job, attempt = (
        a_training_job().with_workers(2, 7).build(),
        DesiredAttempt(number=1, driver_uid=None, workers=(), image=""),
    )
    environment = driver_environment(job, effective_profile(job, a_profile()), attempt).to_env()
    document = json.dumps({**json.loads(environment["SEEDBED_JOB"]), **given})
    env = [{"name": "OTHER"}, {"name": "SEEDBED_JOB", "value": document.replace("$", "$$")}]
    return {"containers": [{"name": "mesh"}, {"name": "driver", "env": env}]} if spec is None else spec


UNREADABLE: dict[str, dict[str, Any]] = {
    "no container": {},
    "no variable": {"containers": [{"name": "driver"}]},
    "no document": {"containers": [{"name": "driver", "env": [{"name": "SEEDBED_JOB", "value": "{"}]}]},
    "a list": {"containers": [{"name": "driver", "env": [{"name": "SEEDBED_JOB", "value": "[]"}]}]},
    "from elsewhere": {"containers": [{"name": "driver", "env": [{"name": "SEEDBED_JOB"}]}]},
    "another kind": told(kind="Pod"),
    "a field of another version": told(spec=None, later=True),
}


@pytest.mark.parametrize("pod_spec", UNREADABLE.values(), ids=UNREADABLE.keys())
def test_a_job_that_cannot_be_read_from_a_driver_leaves_what_is_noted(pod_spec: dict[str, Any]) -> None:
    template = recorded_template(GOOD)
    assert with_recorded_settings(template, pod_spec) == template


def test_what_a_driver_was_told_is_read_from_its_pod_whatever_an_older_operator_noted() -> None:
    spec = a_training_job().with_workers(2, 7).build().spec
    assert spec is not None
    template = with_recorded_settings(recorded_template(GOOD), told())
    assert template is not None
    assert template.ranks == (2, 4), "5, 6 and 7 are no faster than 4"
    assert template.settings == settings_of(spec)
    assert dict(template.settings)["checkpoint.everySteps"] == 200
    assert template.execution == execution_digest(spec)
    assert with_recorded_settings(None, told()) is None


Edit = Callable[[dict[str, Any]], Any]


def setting(path: str, *values: Any) -> list[tuple[str, Edit]]:
    """Return edits that set a field of a manifest, or remove it, and what is left empty stays."""
    *parents, name = path.split(".")

    def edit(value: Any) -> Edit:
        def do(spec: dict[str, Any]) -> None:
            block = spec
            for parent in parents:
                block = block.setdefault(parent, {})
            block.pop(name, None) if value is None else block.update({name: value})

        return do

    return [(f"{path}={value}", edit(value)) for value in values]


EDITS: dict[str, list[tuple[str, Edit]]] = {
    "any time": [
        *setting("cluster.workers", {"min": 1, "max": 4}, {"max": 2}, {"min": 1}, {}, None),
        *setting("cluster.feed", "Local", "RayData", "Auto", None),
        *setting("cluster.profile", "default", None),
        *setting("checkpoint", {"everySteps": 7}, {"keep": 1}, {}, None),
        *setting("suspend", True, False, None),
        *setting("backoffLimit", 0, 9),
        *setting("activeDeadlineSeconds", 5, None),
        *setting("preRunningDeadlineSeconds", 5),
        *setting("progressDeadlineSeconds", 5),
        *setting("ttlSecondsAfterFinished", 5, None),
    ],
    "suspended": [
        *setting("output", {"uri": "s3://elsewhere"}, {"uri": "s3://runs", "secretRef": {"name": "s3"}}),
        *setting("cluster.profile", "other"),
        *setting("cluster.overrides", {}, {"cpu": "2"}, {"labels": {"a": "b"}}, {"env": []}, None),
        *setting("dataset.uri", "s3://copy"),
        *setting("dataset.secretRef", {"name": "s3"}, None),
    ],
}
ALL = [edit for group in EDITS.values() for edit in group]


def spec_of(edits: list[tuple[str, Edit]]) -> TrainingJobSpec:
    manifest = json.loads(json.dumps(a_recipe()))
    for _, do in edits:
        do(manifest)
    return TrainingJobSpec.model_validate(manifest)


SOME = st.lists(st.sampled_from(ALL), max_size=4)


@settings(max_examples=100, deadline=None)
@given(before=SOME, then=SOME)
def test_every_allowed_edit_leaves_the_digest_and_every_forbidden_one_changes_it(
    before: list[tuple[str, Edit]], then: list[tuple[str, Edit]]
) -> None:
    old, new = spec_of(before), spec_of(before + then)
    running = old.model_copy(update={"suspend": False})
    forbidden = rejected_changes(immutable_recipe_fields(), running, new)
    assert (execution_digest(old) != execution_digest(new)) is bool(forbidden), forbidden


@pytest.mark.parametrize("edit", ALL, ids=[name for name, _ in ALL])
def test_each_edit_by_itself(edit: tuple[str, Edit]) -> None:
    old, new = spec_of([]), spec_of([edit])
    forbidden = rejected_changes(immutable_recipe_fields(), old, new)
    assert (execution_digest(old) != execution_digest(new)) is bool(forbidden)


ALLOWED_OF_A_SWEEP: dict[str, Any] = {
    "parallelTrialCount": 1,
    "workersPerTrial": 2,
    "backoffLimit": 7,
    "cluster": {"feed": "Local"},
}


@pytest.mark.parametrize("name", ALLOWED_OF_A_SWEEP)
def test_an_allowed_edit_of_a_sweep_leaves_the_digest(name: str) -> None:
    old, new = (job.build().spec for job in (a_sweep_job(), a_sweep_job(**{name: ALLOWED_OF_A_SWEEP[name]})))
    assert old is not None
    assert new is not None
    assert old != new
    assert execution_digest(old) == execution_digest(new)


@pytest.mark.parametrize(
    "annotations",
    [{}, {**GOOD, EXECUTION: ""}, {**GOOD, RANKS: "two"}, {**GOOD, RANKS: "9" * 80}, {EXECUTION: "a"}],
    ids=["none", "empty", "no number", "a huge number", "one of three"],
)
def test_a_note_that_is_not_ours_is_none(annotations: dict[str, Any]) -> None:
    assert recorded_template(GOOD) is not None
    assert recorded_template(annotations) is None


def test_all_that_may_change_while_suspended_is_in_the_digest() -> None:
    paths = {rule.path for rule in immutable_recipe_fields() if rule.while_suspended}
    assert {path for path in paths if not _covered(path)} == set()
    assert {path for path in ("training.seed", "backoffLimit", "suspend") if _covered(path)} == set()


def _covered(path: str) -> bool:
    """Tell whether a field, by its name in the manifest, is part of the digest."""
    included: Any = spec_hash._OF_THE_RECIPE | spec_hash._OF_THE_EXECUTION
    block: Any = TrainingJobSpec
    for name in path.split("."):
        fields = {given: attribute for attribute, given in _names(block).items()}
        attribute = fields[name]
        if attribute not in included:
            return False
        if included is True or isinstance(included, set) or included[attribute] is True:
            return True
        included = included[attribute]
        block = _block(block, attribute)
    return False


def _names(block: Any) -> dict[str, str]:
    return {name: field.alias or name for name, field in block.model_fields.items()}


def _block(block: Any, attribute: str) -> Any:
    kinds = [block.model_fields[attribute].annotation]
    kinds += list(getattr(kinds[0], "__args__", ()))
    return next(kind for kind in kinds if hasattr(kind, "model_fields"))
