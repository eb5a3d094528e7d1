"""What may change in an existing object."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed_api.field_lookup import every_path
from seedbed_api.immutability import immutable_recipe_fields, immutable_sweep_fields, rejected_changes
from seedbed_api.manifest_loader import any_job
from seedbed_api.recipe import Recipe
from seedbed_api.run_identity import EXCLUDED
from support.manifests.base_manifests import DIGEST
from support.manifests.update_cases import CHANGES, Change

RULES = immutable_recipe_fields()


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_change_is_judged(change: Change) -> None:
    old, new = (any_job(document).spec for document in (change.old(), change.new()))
    lines = rejected_changes(RULES if change.kind == "TrainingJob" else immutable_sweep_fields(), old, new)
    assert [line.split(":")[0] for line in lines] == ([] if change.field is None else [change.field])


def test_every_field_of_the_recipe_is_held_still() -> None:
    held = {rule.path for rule in RULES}
    tops = {path.split(".")[0] for path in held}
    assert {"dataset", "model", "training", "evaluation"} <= tops
    leaves = [path for path, _ in every_path(Recipe) if "[]" not in path]
    for path in leaves:
        above = {path} | {path.rsplit(".", count)[0] for count in range(1, path.count(".") + 1)}
        below = {rule for rule in held if rule.startswith(f"{path}.")}
        assert above & held or below, path


def test_only_what_is_no_part_of_the_identity_may_change_while_suspended() -> None:
    recipe = [
        rule for rule in RULES if rule.path.split(".")[0] in ("dataset", "model", "training", "evaluation")
    ]
    assert {rule.path for rule in recipe if rule.while_suspended} == set(EXCLUDED)


def test_the_rules_in_cel() -> None:
    rules: dict[str, Any] = {rule.path: rule.cel() for rule in RULES}
    assert rules["training"] == "self.training == oldSelf.training"
    assert rules["dataset.uri"] == "oldSelf.suspend || self.dataset.uri == oldSelf.dataset.uri"
    assert rules["dataset.digest"] == (
        "has(self.dataset.digest) == has(oldSelf.dataset.digest)"
        " && (!has(self.dataset.digest) || self.dataset.digest == oldSelf.dataset.digest)"
    )
    assert rules["model.code.uri"] == (
        "!has(self.model.code) || !has(oldSelf.model.code) || oldSelf.suspend"
        " || self.model.code.uri == oldSelf.model.code.uri"
    )
    assert DIGEST not in str(rules)
