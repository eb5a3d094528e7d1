"""A sweep by `seedbed driver` and `seedbed worker` as the operator starts them: the record of `seedbed run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from determinism.pods import AttemptPods, attempts
from determinism.sweep_runs import ledger_of, run, runs_of, steps_of
from seedbed.runs.attempt_claims import highest_attempt
from seedbed_api.manifest_loader import sweep_job
from seedbed_api.pod_contract.driver_messages import LiveProgress
from support.runs.command_line import dataset
from support.runs.sweep_commands import ASHA, a_sweep

pytestmark = [pytest.mark.ray, pytest.mark.exhaustive, pytest.mark.timeout(1200)]

TRIALS = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("sweep-pods") / "data", train=8, validation=4)


@pytest.fixture
def attempt() -> Iterator[Callable[..., AttemptPods]]:
    with attempts() as make:
        yield make


def gets_on(told: LiveProgress) -> bool:
    """Say whether a trial is decided, and others are not."""
    return told.activity == "Training" and told.sweep is not None and told.sweep.trials.succeeded > 0


def test_a_driver_is_killed_and_the_next_one_finds_what_it_left(
    attempt: Callable[..., AttemptPods], data: Path, tmp_path: Path
) -> None:
    fields = {"maxTrialCount": TRIALS, "earlyStopping": ASHA, "training": {"epochs": 16}}
    alone, output = tmp_path / "alone", tmp_path / "pods"
    local = run(sweep_job(a_sweep(data, alone, **fields)))
    assert local.status.trials is not None
    assert local.status.ledger is not None

    manifest = a_sweep(data, output, **fields, parallelTrialCount=2)
    first = attempt(manifest)
    driver, workers = first.driver(), [first.worker(0), first.worker(1)]
    told = first.wait_for(gets_on, driver)
    assert told.workers is not None
    assert told.workers.desired == 2
    assert (told.run_id, told.environment_class) == (local.status.sweep_id, environment_of(local.status))
    driver.kill()
    assert [worker.ended() for worker in workers] == [75, 75], workers[0].log()

    second = attempt(manifest, expected={"RUN_ID": told.run_id, "ENVIRONMENT_CLASS": told.environment_class})
    driver, workers = second.driver(), [second.worker(0), second.worker(1)]
    assert driver.ended() == 0, driver.log()
    done = second.outcome()
    assert (done.result, done.reason, done.run_id) == ("Succeeded", "Trained", local.status.sweep_id)
    assert done.sweep is not None
    assert done.sweep.ledger is not None
    assert done.sweep.kept_time is not None
    assert done.sweep.ledger.digest == local.status.ledger.digest
    assert ledger_of(output) == ledger_of(alone)
    assert done.sweep.best_trial is not None
    assert done.sweep.best_trial.plain()["objective"] == local.status.plain()["bestTrial"]["objective"]
    assert done.sweep.trials.finished == f"{TRIALS}/{TRIALS}"
    assert 0 < done.steps_executed < steps_of(alone), "what the first attempt had done was found"
    assert any(highest_attempt(folder) > 1 for folder in runs_of(output))


def environment_of(status: Any) -> str | None:
    return status.environment.class_


@pytest.mark.exhaustive
def test_a_worker_is_lost_and_another_one_takes_its_place(
    attempt: Callable[..., AttemptPods], data: Path, tmp_path: Path
) -> None:
    """It begins with one worker, takes the second when it comes, loses the first, and is given a third."""
    fields = {"maxTrialCount": TRIALS, "training": {"epochs": 32}}
    alone, output = tmp_path / "alone", tmp_path / "pods"
    run(sweep_job(a_sweep(data, alone, **fields)))
    pods = attempt(a_sweep(data, output, **fields, parallelTrialCount=2))
    driver, first = pods.driver(), pods.worker(0)
    pods.wait_for(gets_on, driver)
    pods.worker(1)
    pods.wait_for(lambda told: told.workers and told.workers.ready == 2, driver)
    pods.wait_for(lambda told: told.sweep and told.sweep.trials.running == 2, driver)
    first.kill()
    pods.worker(2)
    assert driver.ended() == 0, driver.log()
    done = pods.outcome()
    assert (done.result, done.reason) == ("Succeeded", "Trained")
    assert ledger_of(output) == ledger_of(alone)
