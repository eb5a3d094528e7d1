"""What another run has computed on the same trajectory is not computed again, and what is not the same is.

Each story has a fresh store, with one run in it; the figures are the steps that the second run computed itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from determinism.interrupted_runs import Counting, outcome_of
from seedbed.arithmetic.subtree_exchange import SingleProcessExchange
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run, worker_config_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.runs.exactly_once import check_exactly_once
from seedbed.runs.ledger import LedgerReader
from seedbed.runs.training_result import TrainingResult
from seedbed.training.worker import Worker
from seedbed_api.manifest_loader import training_job
from support.runs.command_line import edited, flipped
from support.runs.job_builder import AUGMENTED, RESIZE, Recipe, Way, manifest

pytestmark = pytest.mark.slow

EVERY = 3
COSINE = {"learningRateSchedule": {"type": "Cosine"}}
STOP_SOON = {
    "metric": "validation/accuracy",
    "direction": "Maximize",
    "patienceEvaluations": 1,
    "minDelta": "1",
}


@dataclass(frozen=True, kw_only=True)
class Run:
    """A recipe, and what differs in its evaluation and execution."""

    steps: int
    training: dict[str, Any] = field(default_factory=dict)
    augmentation: tuple[dict[str, Any], ...] = tuple(AUGMENTED)
    evaluate: int = 3
    top_k: int | None = None
    environment_class: str | None = None

    def resolved(self, data: Path, output: Path) -> ResolvedRun:
        """Return the run in a store."""
        recipe = Recipe(
            leaves=4,
            leaf_rows=3,
            steps=self.steps,
            augmentation=list(self.augmentation),
            training=self.training,
        )
        document = manifest(recipe, Way(every_steps=EVERY), data=data, output=str(output))
        document["spec"]["evaluation"] = {"everySteps": self.evaluate}
        if self.top_k is not None:
            document["spec"]["evaluation"]["topK"] = self.top_k
        return resolve_run(training_job(document), RunOptions(), StartupTimings())

    def train(self, data: Path, output: Path) -> tuple[ResolvedRun, Counting]:
        """Train to the end."""
        resolved, counting = self.resolved(data, output), Counting()
        program = worker_config_of(resolved, attempt=1, workers=WorkerRange(least=1, most=1))
        if self.environment_class is not None:
            program = replace(program, environment_class=self.environment_class)
        assert Worker(program, exchange=SingleProcessExchange(), link=counting).train()
        return resolved, counting


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run was computed; how many steps does the other begin with?"""

    first: Run
    then: Run
    prefix: int


BEST = {"modelSelection": "Best"}
AVERAGED = {"ema": {"decay": "0.9", "startStep": 2}}
DIVERGING = {
    "optimizer": {"type": "SGD", "learningRate": "20"},
    "earlyStopping": {
        "metric": "validation/loss",
        "direction": "Minimize",
        "patienceEvaluations": 99,
        "minDelta": "0",
    },
}
"""The best loss is one of the first."""
STORIES = {
    "a constant rate, trained on": Story(first=Run(steps=6), then=Run(steps=12), prefix=6),
    "a constant rate, cut short": Story(first=Run(steps=12), then=Run(steps=8), prefix=6),
    "the end is not where a checkpoint is due": Story(first=Run(steps=7), then=Run(steps=12), prefix=7),
    "evaluated more often than is asked for": Story(
        first=Run(steps=6), then=Run(steps=12, evaluate=6), prefix=6
    ),
    "evaluated at other steps": Story(first=Run(steps=6), then=Run(steps=12, evaluate=4), prefix=3),
    "evaluated more seldom": Story(first=Run(steps=6, evaluate=6), then=Run(steps=12, evaluate=2), prefix=0),
    "evaluations that count the same top k": Story(
        first=Run(steps=6, top_k=3), then=Run(steps=12, top_k=3), prefix=6
    ),
    "evaluations that count no top k": Story(first=Run(steps=6), then=Run(steps=12, top_k=3), prefix=0),
    "evaluations that count a top k": Story(first=Run(steps=6, top_k=3), then=Run(steps=12), prefix=0),
    "the same cosine": Story(
        first=Run(steps=6, training=COSINE), then=Run(steps=6, training=COSINE), prefix=6
    ),
    "a cosine over more steps": Story(
        first=Run(steps=6, training=COSINE), then=Run(steps=12, training=COSINE), prefix=0
    ),
    "a warm-up in front": Story(
        first=Run(steps=6),
        then=Run(steps=12, training={"learningRateSchedule": {"type": "Constant", "warmupSteps": 2}}),
        prefix=0,
    ),
    "a rate that drops later": Story(
        first=Run(steps=6),
        then=Run(
            steps=12,
            training={"learningRateSchedule": {"type": "Step", "step": {"everySteps": 9, "factor": "0.1"}}},
        ),
        prefix=6,
    ),
    "a rate that has dropped": Story(
        first=Run(steps=6),
        then=Run(
            steps=12,
            training={"learningRateSchedule": {"type": "Step", "step": {"everySteps": 4, "factor": "0.1"}}},
        ),
        prefix=3,
    ),
    "another seed": Story(first=Run(steps=6), then=Run(steps=12, training={"seed": 8}), prefix=0),
    "other pictures": Story(first=Run(steps=6), then=Run(steps=12, augmentation=tuple(RESIZE)), prefix=0),
    "another environment class": Story(
        first=Run(steps=6, environment_class="sha256:" + "0" * 64), then=Run(steps=12), prefix=0
    ),
    "a rule that would have stopped it": Story(
        first=Run(steps=9), then=Run(steps=12, training={"earlyStopping": STOP_SOON}), prefix=6
    ),
    "the best model, whose weights are gone": Story(
        first=Run(steps=12, evaluate=1, training=DIVERGING),
        then=Run(steps=12, evaluate=1, training=DIVERGING | BEST),
        prefix=0,
    ),
    "the best model, whose weights are kept": Story(
        first=Run(steps=9, training=BEST), then=Run(steps=12, training=BEST), prefix=9
    ),
    "averages are taken over": Story(
        first=Run(steps=6, training=AVERAGED), then=Run(steps=12, training=AVERAGED | BEST), prefix=6
    ),
    "no averages of plain weights": Story(
        first=Run(steps=6), then=Run(steps=12, training=AVERAGED), prefix=0
    ),
    "another average": Story(
        first=Run(steps=6, training=AVERAGED),
        then=Run(steps=12, training={"ema": {"decay": "0.99", "startStep": 2}}),
        prefix=0,
    ),
}


@pytest.fixture(scope="module")
def alone(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Run], TrainingResult]:
    """Return the outcome of a run in a store of its own."""
    known: dict[str, TrainingResult] = {}

    def outcome(run: Run) -> TrainingResult:
        if str(run) not in known:
            resolved, counting = run.train(digits, tmp_path_factory.mktemp("alone"))
            known[str(run)] = outcome_of(resolved)
            assert counting.resumed_from == 0
            assert counting.steps == known[str(run)].step
        return known[str(run)]

    return outcome


@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_a_prefix_is_taken_over_and_changes_no_bit(
    story: Story, digits: Path, tmp_path: Path, alone: Callable[[Run], TrainingResult]
) -> None:
    expected = alone(story.then)
    story.first.train(digits, tmp_path)
    resolved, counting = story.then.train(digits, tmp_path)
    assert counting.resumed_from == story.prefix
    assert outcome_of(resolved) == expected
    assert counting.steps == expected.step - story.prefix
    prove_ledger(resolved, expected)


def prove_ledger(resolved: ResolvedRun, outcome: TrainingResult) -> None:
    """Assert that the run's own ledger holds every row, those of the prefix too."""
    reader = LedgerReader(folder=resolved.folder)
    assert reader.chain(stop=outcome.step).hex() == outcome.ledger_chain
    view = resolved.dataset.view(split="train")
    coverage = check_exactly_once(reader, view_rows=view.row_numbers(), total_steps=outcome.step)
    assert coverage.epochs * coverage.rows_per_epoch + coverage.partial == outcome.step * 12


def test_a_damaged_state_is_no_help(
    digits: Path, tmp_path: Path, alone: Callable[[Run], TrainingResult]
) -> None:
    first, _ = Run(steps=6).train(digits, tmp_path)
    for blob in (tmp_path / "runs" / first.folder.name / "blobs").iterdir():
        edited(blob, flipped)
    resolved, counting = Run(steps=12).train(digits, tmp_path)
    assert counting.resumed_from == 0
    assert outcome_of(resolved) == alone(Run(steps=12))


def test_of_two_prefixes_the_longer_one_counts(digits: Path, tmp_path: Path) -> None:
    Run(steps=3).train(digits, tmp_path)
    Run(steps=6).train(digits, tmp_path)
    _, counting = Run(steps=12).train(digits, tmp_path)
    assert (counting.resumed_from, counting.steps) == (6, 6)


def test_the_index_names_what_is_kept(digits: Path, tmp_path: Path) -> None:
    resolved, _ = Run(steps=30).train(digits, tmp_path)
    (folder,) = (tmp_path / "trajectories").iterdir()
    named = {int(path.name.partition("-")[0]) for path in folder.iterdir()}
    kept = {int(path.stem) for path in (tmp_path / "runs" / resolved.folder.name / "checkpoints").iterdir()}
    assert named == kept == {24, 27, 30}
