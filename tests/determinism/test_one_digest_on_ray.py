"""One digest on real Ray Train and Ray Data: worker counts, feeds and elastic ranges, chosen pairwise.

Each run has a fresh output store, so a digest can only come from computing it; the full matrix of sizes is in
test_matrix.py, on plain processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from seedbed.ray_cluster.local_ray import local_ray
from support.datasets.task_datasets import LOSSES, a_task_dataset
from support.runs.job_builder import (
    AUGMENTED,
    RECIPES,
    Recipe,
    Way,
    a_job,
    deterministic_receipt,
    digest_of,
    prove,
    run,
)

pytestmark = pytest.mark.ray

BEST = {"modelSelection": "Best"}
ALONE = Way(most=1, feed="Local", every_steps=5)
TASKS = {
    f"simple-cnn L=4 m=3 {task}": (
        task,
        Recipe(leaves=4, leaf_rows=3, augmentation=AUGMENTED, training={"loss": losses[-1]} | BEST),
    )
    for task, losses in LOSSES.items()
    if task != "single-label"
}
WAYS = {
    "simple-cnn L=8 m=4 SGD": [
        Way(least=2, most=2, feed="RayData"),
        Way(least=3, most=3, feed="Local"),
        Way(least=1, most=3, feed="RayData"),
    ],
    "simple-cnn L=4 m=5 AdamW augmented": [
        Way(least=1, most=1, feed="RayData"),
        Way(least=3, most=3, feed="RayData"),
        Way(least=4, most=4, feed="Local"),
    ],
    "resnet18 L=8 m=3 augmented": [
        Way(least=2, most=2, feed="Local"),
        Way(least=4, most=4, feed="RayData"),
        Way(least=1, most=3, feed="Local"),
    ],
    "simple-cnn L=16 m=2 BFloat16 mixup": [
        Way(least=2, most=2, feed="RayData", every_steps=1),
        Way(least=3, most=3, feed="RayData", every_steps=100),
        Way(least=4, most=4, feed="Local", every_steps=7),
    ],
    "simple-cnn L=4 m=3 multi-label": [Way(least=2, most=2, feed="RayData")],
    "simple-cnn L=4 m=3 regression": [Way(least=1, most=1, feed="RayData")],
}
CASES = [
    pytest.param(
        name, way, id=f"{name}, {way}", marks=() if number == turn % 3 % len(ways) else pytest.mark.exhaustive
    )
    for turn, (name, ways) in enumerate(WAYS.items())
    for number, way in enumerate(ways)
]
"""One way of each recipe is everyday: W = 2, 3, 1:3 and again 2; both feeds."""


@pytest.fixture(scope="module", autouse=True)
def ray_of_this_module() -> Iterator[None]:
    with local_ray(workers=4, gpus=0):
        yield


Reference = Callable[[str], tuple[str, str]]
Starter = Callable[[str, Way], tuple[str, str]]


@pytest.fixture(scope="module")
def trained(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Starter:
    """Return what trains a recipe on its dataset in a fresh store, and gives weights and receipt digests."""
    data = {name: a_task_dataset(tmp_path_factory.mktemp("data"), task) for name, (task, _) in TASKS.items()}

    def train(name: str, way: Way) -> tuple[str, str]:
        recipe = TASKS[name][1] if name in TASKS else RECIPES[name]
        output = tmp_path_factory.mktemp("runs")
        ended = run(a_job(recipe, way, data=data.get(name, digits), output=output))
        prove(ended)
        return digest_of(ended), deterministic_receipt(ended)

    return train


@pytest.fixture(scope="module")
def alone(trained: Starter) -> Reference:
    """Return weights and receipt digests of a recipe that one process trained by itself."""
    return cache(lambda name: trained(name, ALONE))


@pytest.mark.parametrize(("name", "way"), CASES)
def test_every_way_gives_the_digest_of_one_worker_alone(
    name: str, way: Way, alone: Reference, trained: Starter
) -> None:
    assert trained(name, way) == alone(name)


def test_recipes_differ(alone: Reference) -> None:
    """Check the check: a digest that ignored the recipe would make every comparison above pass."""
    names = [*RECIPES, *TASKS]
    assert len({alone(name) for name in names}) == len(names)
