"""Chains of interrupted attempts, drawn at random: any worker count after any other, cut at any step, any cadence.

The workers are plain gloo processes that run the same program as those of Ray Train; the run folder is real.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from determinism.chain_tasks import Stretch, attempt
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run, worker_config_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.exactly_once import check_exactly_once
from seedbed.runs.ledger import LedgerReader
from seedbed.runs.training_result import TrainingResult, read_training_result
from support.gloo.worker_group import WorkerGroup, worker_group
from support.runs.job_builder import AUGMENTED, Recipe, Way, a_job

pytestmark = pytest.mark.slow

RECIPE = Recipe(
    leaves=8,
    leaf_rows=3,
    steps=12,
    augmentation=AUGMENTED,
    training={"ema": {"decay": "0.9", "startStep": 2}},
)
WORLDS = (1, 2, 3, 4)
Link = tuple[int, int, int]
"""Workers, steps survived, steps between checkpoints."""
LINKS = st.tuples(st.sampled_from(WORLDS), st.integers(0, 9), st.integers(1, 5))

Groups = Callable[[int], WorkerGroup]


@pytest.fixture(scope="module")
def groups() -> Iterator[Groups]:
    with ExitStack() as stack:
        yield cache(lambda world: stack.enter_context(worker_group(world)))


@pytest.fixture(scope="module")
def straight(digits: Path, groups: Groups) -> TrainingResult:
    """One worker, straight through."""
    with tempfile.TemporaryDirectory() as output:
        run = prepared_run(digits, Path(output))
        assert [report.executed for report in run_link(run, groups, (1, 99, 100))] == [RECIPE.steps]
        return outcome_of(run)


def prepared_run(data: Path, output: Path) -> ResolvedRun:
    return resolve_run(a_job(RECIPE, Way(), data=data, output=output), RunOptions(), StartupTimings())


def run_link(run: ResolvedRun, groups: Groups, link: Link):
    world, survives, every = link
    program = worker_config_of(run, attempt=1, workers=WorkerRange(least=1, most=1))
    schedule = replace(program.schedule, checkpoint_every_steps=every)
    stretch = Stretch(program=replace(program, schedule=schedule), survives=survives)
    return groups(world).run(attempt, stretch)


def outcome_of(run: ResolvedRun) -> TrainingResult:
    outcome = read_training_result(run.folder)
    assert outcome is not None
    return outcome


@settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
@given(chain=st.lists(LINKS, min_size=1, max_size=4), last=st.sampled_from(WORLDS))
def test_any_chain_ends_in_the_digest_of_one_worker_straight_through(
    chain: list[Link], last: int, digits: Path, groups: Groups, straight: TrainingResult
) -> None:
    with tempfile.TemporaryDirectory() as output:
        run = prepared_run(digits, Path(output))
        done = 0
        for link in [*chain, (last, 99, 4)]:
            kept = max(checkpoint_steps(run.folder), default=0)
            assert done - kept <= previous_cadence(chain, link), (
                "a kill may cost the steps since a checkpoint"
            )
            reports = run_link(run, groups, link)
            assert len({report.executed for report in reports}) == 1
            done = kept + reports[0].executed
            if reports[0].ended:
                break
        assert outcome_of(run) == straight
        check_ledger(run)


def previous_cadence(chain: list[Link], link: Link) -> int:
    """Return the largest distance of checkpoints so far: what an attempt before this one may have lost."""
    seen = chain[: chain.index(link)] if link in chain else chain
    return max((every for _, _, every in seen), default=0)


def check_ledger(run: ResolvedRun) -> None:
    view = run.dataset.view(split="train")
    coverage = check_exactly_once(
        LedgerReader(folder=run.folder), view_rows=view.row_numbers(), total_steps=RECIPE.steps
    )
    assert coverage.partial == RECIPE.steps * RECIPE.leaves * RECIPE.leaf_rows
