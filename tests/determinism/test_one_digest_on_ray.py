"""One digest on real Ray Train and Ray Data: worker counts, feeds and elastic ranges, chosen pairwise.

Each run has a fresh output store, so a digest can only come from computing it; the full matrix of sizes is in
test_matrix.py, on plain processes.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from seedbed.ray_cluster.local_ray import local_ray
from support.runs.job_builder import RECIPES, Way, a_job, deterministic_receipt, digest_of, prove, run

pytestmark = pytest.mark.ray

ALONE = Way(most=1, feed="Local", every_steps=5)
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
}
CASES = [
    pytest.param(name, way, id=f"{name}, {way}", marks=() if number == turn % 3 else pytest.mark.exhaustive)
    for turn, (name, ways) in enumerate(WAYS.items())
    for number, way in enumerate(ways)
]
"""One way of each recipe is everyday: W = 2, 3, 1:3 and again 2; both feeds."""


@pytest.fixture(scope="module", autouse=True)
def ray_of_this_module() -> Iterator[None]:
    with local_ray(workers=4, gpus=0):
        yield


@pytest.fixture(scope="module")
def alone(digits: Path, tmp_path_factory: pytest.TempPathFactory):
    """Return weights and receipt digests of a recipe that one process trained by itself."""

    @cache
    def reference(name: str) -> tuple[str, str]:
        output = tmp_path_factory.mktemp("alone")
        ended = run(a_job(RECIPES[name], ALONE, data=digits, output=output))
        prove(ended)
        return digest_of(ended), deterministic_receipt(ended)

    return reference


@pytest.mark.parametrize(("name", "way"), CASES)
def test_every_way_gives_the_digest_of_one_worker_alone(
    name: str, way: Way, alone, digits: Path, tmp_path: Path
) -> None:
    ended = run(a_job(RECIPES[name], way, data=digits, output=tmp_path))
    prove(ended)
    assert (digest_of(ended), deterministic_receipt(ended)) == alone(name)


def test_recipes_differ(alone) -> None:
    """Check the check: a digest that ignored the recipe would make every comparison above pass."""
    assert len({alone(name) for name in RECIPES}) == len(RECIPES)
