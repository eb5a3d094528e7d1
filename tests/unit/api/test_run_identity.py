"""Run and trajectory identities: what counts, what does not, and golden values of both."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed_api.canonical_json import canonical_json
from seedbed_api.decimal_strings import canonical
from seedbed_api.errors import UserError
from seedbed_api.field_lookup import every_path
from seedbed_api.manifest_loader import training_job
from seedbed_api.recipe import Model, Recipe
from seedbed_api.run_identity import EXCLUDED, NOT_OF_A_TRAJECTORY, resolve, run_id, trajectory_id, without
from support.manifests.base_manifests import DIGEST, TRAINING_JOB, Case
from support.manifests.validation_cases import CASES

GOLDEN = Path(__file__).parent / "golden"
CODE = "sha256:" + "c" * 64


def resolved(change: dict[str, Any] | None = None, **digests: str) -> dict[str, Any]:
    job = training_job(Case(change=change or {}).manifest())
    return resolve(job, **{"dataset_digest": DIGEST, **digests})


def identity(change: dict[str, Any] | None = None, **digests: str) -> str:
    return run_id(resolved(change, **digests), arithmetic_version=1, environment_class="test")


def trajectory(change: dict[str, Any] | None = None, rates: tuple[float, ...] = (0.1, 0.1)) -> str:
    recipe = resolved(change)
    return trajectory_id(recipe, arithmetic_version=1, environment_class="test", learning_rates=rates)


def test_the_fully_defaulted_recipe_is_contract() -> None:
    golden = json.loads((GOLDEN / "spec.json").read_text())
    assert training_job(copy.deepcopy(TRAINING_JOB)).spec.plain() == golden


def test_every_default_is_written_canonically() -> None:
    document = Case().manifest()
    spec = training_job(document).spec.plain()
    transforms = ["RandomResizedCrop", "HorizontalFlip", "VerticalFlip", "ColorJitter", "Mixup"]
    sizes = {"RandomResizedCrop": {"randomResizedCrop": {"size": 32}}}
    spec["training"]["augmentation"] = [{"type": kind, **sizes.get(kind, {})} for kind in transforms]
    spec["training"]["optimizer"] = {"type": "AdamW", "learningRate": "0.1"}
    spec["training"]["learningRateSchedule"] = {"type": "Cosine"}
    once = training_job({**document, "spec": spec}).spec.plain()
    assert training_job({**document, "spec": once}).spec.plain() == once


def test_the_identity_of_the_smallest_job_is_contract() -> None:
    golden = json.loads((GOLDEN / "identity.json").read_text())
    assert identity() == golden["runID"]
    assert trajectory() == golden["trajectoryAfterTwoStepsOfOneTenth"]


SPELLINGS = {
    "with an exponent": {"spec.training.optimizer.learningRate": "1e-1"},
    "with a nought at the end": {"spec.training.optimizer.learningRate": "0.10"},
    "with a default written out": {"spec.training.seed": 0},
    "with a default block written out": {"spec.evaluation": {"everyEpochs": 1}},
    "with a chosen member written out": {"spec.training.optimizer.sgd": {"momentum": "0.000"}},
    "with a default transform written out": {
        "spec.training.augmentation": [{"type": "Resize", "resize": {"size": 224}}]
    },
}
PLACES = {
    "the dataset elsewhere": {"spec.dataset.uri": "s3://mirror/small"},
    "another reader": {"spec.dataset.secretRef": {"name": "other"}},
    "a pinned dataset": {"spec.dataset.digest": DIGEST},
    "another output": {"spec.output.uri": "s3://elsewhere"},
    "more workers": {"spec.cluster": {"workers": {"min": 2, "max": 4}, "feed": "Local"}},
    "other checkpoints": {"spec.checkpoint": {"everySteps": 7}},
    "other limits": {"spec.backoffLimit": 9, "spec.suspend": True, "metadata.name": "other"},
}
SAME = SPELLINGS | PLACES


@pytest.mark.parametrize("change", SAME.values(), ids=SAME)
def test_spelling_and_execution_are_no_part_of_the_identity(change: dict[str, Any]) -> None:
    assert identity(change) == identity()


@pytest.mark.parametrize(
    "change",
    [
        {"spec.training.seed": 1},
        {"spec.training.epochs": 4},
        {"spec.training.shuffleWindow": 5},
        {"spec.training.batch": {"globalSize": 128, "microSize": 32}},
        {"spec.evaluation": {"everySteps": 5}},
        {"spec.model.args": [{"name": "width", "value": "64"}]},
        {"spec.dataset.subset": {"fraction": "0.5"}},
    ],
    ids=str,
)
def test_the_recipe_is_the_identity(change: dict[str, Any]) -> None:
    assert identity(change) != identity()


def test_arithmetic_environment_dataset_and_code_count() -> None:
    recipe = resolved()
    ids = {
        run_id(recipe, arithmetic_version=1, environment_class="test"),
        run_id(recipe, arithmetic_version=2, environment_class="test"),
        run_id(recipe, arithmetic_version=1, environment_class="other"),
        identity(dataset_digest=CODE),
    }
    assert len(ids) == 4
    user_code = CASES["user code"].change
    assert identity(user_code, code_digest=CODE) != identity(user_code, code_digest=DIGEST)


def test_where_the_code_lies_does_not_count() -> None:
    def at(uri: str) -> str:
        model = {"entrypoint": "mine.net:Net", "code": {"uri": uri}}
        return identity({"spec.model": model}, code_digest=CODE)

    assert at("s3://a/mine.whl") == at("./mine")


def test_arguments_and_class_weights_count_without_their_order() -> None:
    pair = [{"name": "b", "value": "1"}, {"name": "a", "value": "2"}]
    assert identity({"spec.model.args": pair}) == identity({"spec.model.args": pair[::-1]})


def test_the_order_of_transforms_counts() -> None:
    resize, flip = {"type": "Resize", "resize": {"size": 32}}, {"type": "HorizontalFlip"}
    assert identity({"spec.training.augmentation": [resize, flip]}) != identity(
        {"spec.training.augmentation": [flip, resize]}
    )


def test_a_new_field_of_a_recipe_block_counts_by_default() -> None:
    class TomorrowsModel(Model):
        novelty: int = 7

    class Tomorrow(Recipe):
        model: TomorrowsModel

    blocks = {name: TRAINING_JOB["spec"][name] for name in ("dataset", "model", "training")}
    later = resolve(Tomorrow.model_validate(blocks), dataset_digest=DIGEST)
    assert later["model"]["novelty"] == 7
    assert run_id(later, arithmetic_version=1, environment_class="test") != identity()


@pytest.mark.parametrize("path", [*EXCLUDED, *NOT_OF_A_TRAJECTORY])
def test_what_is_left_out_names_a_field_that_exists(path: str) -> None:
    assert path in {known for known, _ in every_path(Recipe)}


def test_a_resolved_recipe_holds_no_place_and_no_secret() -> None:
    change = {"spec.dataset.secretRef": {"name": "reader"}, **CASES["user code"].change}
    recipe = resolved(change, code_digest=CODE)
    assert b"s3://" not in canonical_json(recipe)
    assert b"reader" not in canonical_json(recipe)
    assert recipe["dataset"] == {"digest": DIGEST}
    assert recipe["model"]["code"] == {"digest": CODE}


def test_another_dataset_than_the_pinned_one_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        resolved({"spec.dataset.digest": CODE})
    assert caught.value.reason == "DatasetChanged"


def test_other_code_than_the_pinned_one_is_refused() -> None:
    model = {"entrypoint": "mine.net:Net", "code": {"uri": "./mine", "digest": DIGEST}}
    with pytest.raises(UserError, match=r"spec\.model\.code\.digest: is not the code's digest"):
        resolved({"spec.model": model}, code_digest=CODE)


PREFIXES = {
    "more epochs": {"spec.training.epochs": 30},
    "steps instead of epochs": {"spec.training.epochs": None, "spec.training.steps": 5},
    "another evaluation": {"spec.evaluation": {"everySteps": 5}},
    "the best model": {"spec.training.modelSelection": "Best"},
}


@pytest.mark.parametrize("change", PREFIXES.values(), ids=PREFIXES)
def test_a_trajectory_does_not_know_where_it_ends(change: dict[str, Any]) -> None:
    assert trajectory(change) == trajectory()


def test_a_trajectory_is_the_learning_rates_to_the_last_bit() -> None:
    ids = {
        trajectory(rates=rates)
        for rates in [(0.1,), (0.1, 0.1), (0.1, 0.1 + 2**-55), (0.1, -0.0), (0.1, 0.0)]
    }
    assert len(ids) == 5
    assert trajectory({"spec.training.seed": 1}) != trajectory()
    assert trajectory({"spec.training.optimizer.weightDecay": "1e-4"}) != trajectory()


def test_taking_fields_out_leaves_the_recipe_alone() -> None:
    recipe = resolved()
    before = copy.deepcopy(recipe)
    without(recipe, ["training.optimizer.learningRate", "nothing.here"])
    assert recipe == before


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 10**6), st.integers(0, 6), st.integers(0, 3))
def test_every_spelling_of_a_fraction_gives_one_identity(digits: int, places: int, noughts: int) -> None:
    whole, part = divmod(digits, 10**places)
    plain = f"{whole}.{part:0{places}d}{'0' * noughts}" if places else str(whole)
    shifted = f"{digits}e-{places}"
    assert canonical(plain) == canonical(shifted)


def test_floats_cannot_enter_a_digest() -> None:
    with pytest.raises(AssertionError):
        canonical_json({"a": [{"b": 0.1}]})
