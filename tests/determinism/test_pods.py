"""`seedbed driver` and `seedbed worker` as the operator starts them: the digest of `seedbed run`, whatever dies."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from determinism.jobs import Recipe, Way, a_job, digest_of, manifest, prove, run
from determinism.pods import Attempt, attempts

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

RECIPE = Recipe(steps=30)


@pytest.fixture(scope="module")
def straight(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Digest of `seedbed run` with one worker, in a store of its own."""
    ended = run(a_job(RECIPE, Way(every_steps=1000), data=digits, output=tmp_path_factory.mktemp("straight")))
    prove(ended)
    return digest_of(ended)


@pytest.fixture
def attempt() -> Iterator[Callable[..., Attempt]]:
    with attempts() as make:
        yield make


def test_two_workers_give_the_digest_of_one_command(
    attempt, digits: Path, tmp_path: Path, straight: str
) -> None:
    pods = attempt(manifest(RECIPE, Way(least=2, most=2, feed="RayData"), data=digits, output=str(tmp_path)))
    driver, workers = pods.driver(), [pods.worker(0), pods.worker(1)]
    assert driver.ended() == 0, driver.log()
    assert [worker.ended(20) for worker in workers] == [0, 0], workers[0].log()
    outcome = pods.outcome()
    assert (outcome.result, outcome.reason, outcome.steps_executed) == ("Succeeded", "Trained", RECIPE.steps)
    assert outcome.model is not None
    assert outcome.model.weights_digest == straight
