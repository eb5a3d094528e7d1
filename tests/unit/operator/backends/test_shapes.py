"""What is noted on a driver: read back as it was written, the same for what makes the same pods."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed_api.trainingjob import TrainingJobSpec
from seedbed_api.transitions import recipe_transitions
from seedbed_operator.backends import shapes
from seedbed_operator.backends.offers import offer_of
from seedbed_operator.backends.shapes import EXECUTION, PROFILE, RANKS, noted, shape_noted
from unit.operator.planning.builders import a_profile, a_training_job


def test_what_is_noted_is_read_again() -> None:
    offer = offer_of(a_training_job().build(), a_profile(worker={"workersPerPod": 4}))
    shape = shape_noted({**noted(offer), "other": "x"})
    assert shape is not None
    assert (shape.execution, shape.profile, shape.workers_per_pod) == tuple(
        int(value) if value == "4" else value for value in noted(offer).values()
    )


GOOD = {EXECUTION: "a", PROFILE: "b", RANKS: "2"}


@pytest.mark.parametrize(
    "annotations",
    [{}, {**GOOD, EXECUTION: ""}, {**GOOD, RANKS: "two"}, {**GOOD, RANKS: "9" * 80}, {EXECUTION: "a"}],
    ids=["none", "empty", "no number", "a huge number", "one of three"],
)
def test_a_note_that_is_not_ours_is_none(annotations: dict[str, Any]) -> None:
    assert shape_noted(GOOD) is not None
    assert shape_noted(annotations) is None


def test_all_that_may_change_while_suspended_is_in_the_digest() -> None:
    paths = {rule.path for rule in recipe_transitions() if rule.while_suspended}
    assert {path for path in paths if not _covered(path)} == set()
    assert {path for path in ("training.seed", "backoffLimit", "suspend") if _covered(path)} == set()


def _covered(path: str) -> bool:
    """Tell whether a field, by its name in the manifest, is part of the digest."""
    included: Any = shapes._OF_THE_RECIPE | shapes._OF_THE_EXECUTION
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
