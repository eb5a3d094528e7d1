"""A run that pauses, and goes on later, gives the bits of one that went straight through, and repeats no step.

Pausing is how a trial of a sweep waits at a rung: its evaluation is stored, its state kept, its outcome open.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from determinism.interrupted_runs import Counting, outcome_of
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run, worker_config_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.training_result import TrainingResult, read_training_result
from seedbed.training.worker import Worker
from support.runs.job_builder import AUGMENTED, Recipe, Way, a_job

pytestmark = pytest.mark.slow

RECIPE = Recipe(leaves=4, leaf_rows=3, steps=10, augmentation=AUGMENTED)
"""Evaluated after 4, 8 and 10 steps."""

PAUSES = {
    "at an evaluation": [4],
    "at both evaluations": [4, 8],
    "between evaluations and checkpoints": [1, 5],
    "asked for twice": [4, 4, 4],
    "an earlier pause than the state that is kept": [8, 4],
    "beyond the end": [99],
}


def prepared_run(data: Path, output: Path) -> ResolvedRun:
    return resolve_run(a_job(RECIPE, Way(), data=data, output=output), RunOptions(), StartupTimings())


def stretch(run: ResolvedRun, *, pause_after: int | None) -> tuple[bool, Counting]:
    """Train up to a pause, as a process that knows nothing of the ones before; say whether the run ended."""
    counting = Counting()
    program = worker_config_of(run, attempt=1, workers=WorkerRange(least=1, most=1))
    paused = replace(program, pause_after=pause_after)
    return Worker(paused, exchange=SingleProcessExchange(), link=counting).train(), counting


@pytest.fixture(scope="module")
def straight(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    run = prepared_run(digits, tmp_path_factory.mktemp("straight"))
    ended, counting = stretch(run, pause_after=None)
    assert (ended, counting.steps) == (True, RECIPE.steps)
    return outcome_of(run)


@pytest.mark.parametrize("pauses", PAUSES.values(), ids=PAUSES)
def test_pauses_change_no_bit_and_cost_no_step(
    pauses: list[int], digits: Path, tmp_path: Path, straight: TrainingResult
) -> None:
    run, done = prepared_run(digits, tmp_path), 0
    for pause in pauses:
        ended, counting = stretch(run, pause_after=pause)
        reached = max(done, min(pause, RECIPE.steps))
        assert (ended, counting.steps) == (pause >= RECIPE.steps, reached - done)
        assert counting.resumed_from == done
        done = reached
    ended, counting = stretch(run, pause_after=None)
    assert (ended, counting.steps) == (True, RECIPE.steps - done)
    assert outcome_of(run) == straight


def test_a_paused_run_has_its_evaluation_and_its_state_and_no_outcome(digits: Path, tmp_path: Path) -> None:
    run = prepared_run(digits, tmp_path)
    ended, _ = stretch(run, pause_after=4)
    assert not ended
    assert [record.step for record in read_evaluations(run.folder)] == [4]
    assert checkpoint_steps(run.folder)[-1] == 4
    assert read_training_result(run.folder) is None
    assert not run.folder.finished()
