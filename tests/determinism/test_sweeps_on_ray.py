"""One record for every way to run a sweep: in turn, and on real Ray Tune with 1, 2 and 4 runs side by side.

Every way has a fresh output store, and the steps that it computed are counted: a memo hit is no proof.
"""

from __future__ import annotations

import io
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from determinism.sweep_runs import ledger_of, run, runs_of, steps_of
from seedbed.driver.resolve_run import RunOptions
from seedbed.driver.startup_timings import StartupTimings
from seedbed.feed.decoded_cache import DecodedCache
from seedbed.ray_cluster.local_ray import local_ray
from seedbed.runs.attempt_claims import highest_attempt, read_claim
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.search.search_state import Search
from seedbed.sweeps.finished_sweep import write_sweep_record
from seedbed.sweeps.resolve_sweep import resolve_sweep
from seedbed.sweeps.sweep_display import SweepDisplay
from seedbed.sweeps.sweep_driver import SweepDriverExit
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed.sweeps.tune_runner import run_on_tune
from seedbed_api.manifest_loader import sweep_job
from seedbed_api.sweepjob import SweepJob
from support.networks.hanging_network import HANGING
from support.runs.command_line import dataset
from support.runs.sweep_commands import ASHA, STEPS, a_sweep

pytestmark = pytest.mark.ray

PATIENCE_SECONDS = 300.0
T = TypeVar("T")
ROWS, MEASURED = 24, 12 + 9
"""Rows to train on; of validation and test."""


@pytest.fixture(scope="module", autouse=True)
def ray_of_this_module() -> Iterator[None]:
    with local_ray(workers=4, gpus=0):
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("sweeps-on-ray") / "data", train=8, validation=4)


def a_job(data: Path, output: Path, **changes: Any) -> SweepJob:
    """Return 6 trials of 4 epochs, judged after 1 and 2."""
    fields: dict[str, Any] = {"earlyStopping": ASHA, "maxTrialCount": 6} | changes
    return sweep_job(a_sweep(data, output, **fields))


def run_on_one_slot(job: SweepJob) -> None:
    """Run a sweep on Tune also where one run at a time needs none."""
    sweep = resolve_sweep(job, RunOptions(), StartupTimings())
    standing = SweepState(sweep=sweep, search=Search(sweep.spec))
    display = SweepDisplay("test", stream=io.StringIO())
    run_on_tune(standing, slots=1, stopping=threading.Event(), display=display)
    assert standing.search.ended is not None
    write_sweep_record(
        sweep, ended=standing.search.ended, trials=standing.decided, trial_runs=standing.trial_runs()
    )


@pytest.fixture(scope="module")
def in_turn(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, int]:
    """Return the ledger of trials one after the other, and the steps that it took."""
    output = tmp_path_factory.mktemp("in-turn")
    ended = run(a_job(data, output))
    assert ended.error is None, ended.error
    counts = ended.status.trials
    assert counts is not None
    assert counts.pruned > 0, "a comparison of decisions needs some that go either way"
    assert 6 * STEPS < steps_of(output) < 6 * 4 * STEPS
    return ledger_of(output), steps_of(output)


WAYS: dict[str, Callable[[Path, Path], object]] = {
    "one at a time on Tune": lambda data, output: run_on_one_slot(a_job(data, output)),
    "two side by side": lambda data, output: run(a_job(data, output, parallelTrialCount=2)),
    "four side by side": lambda data, output: run(a_job(data, output, parallelTrialCount=4)),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_gives_the_ledger_of_one_after_the_other(
    way: Callable[[Path, Path], object], data: Path, tmp_path: Path, in_turn: tuple[bytes, int]
) -> None:
    way(data, tmp_path)
    assert (ledger_of(tmp_path), steps_of(tmp_path)) == in_turn


def test_folds_and_generations_side_by_side_are_those_of_one_after_the_other(
    data: Path, tmp_path: Path
) -> None:
    """TPE learns from all earlier generations, folds reach a rung together: what waits longest for others."""
    learning = {
        "algorithm": {"type": "TPE", "seed": 3, "tpe": {"generationSize": 2}},
        "crossValidation": {"folds": 2},
        "training": {"epochs": 2},
        "maxTrialCount": 4,
    }
    for slots, store in ((1, "in-turn"), (3, "side-by-side")):
        ended = run(a_job(data, tmp_path / store, parallelTrialCount=slots, **learning))
        assert ended.error is None, ended.error
    assert ledger_of(tmp_path / "side-by-side") == ledger_of(tmp_path / "in-turn")
    assert len(runs_of(tmp_path / "side-by-side")) == 8
    assert steps_of(tmp_path / "side-by-side") >= steps_of(tmp_path / "in-turn") > 0


def test_side_by_side_a_picture_is_decoded_once(data: Path, tmp_path: Path) -> None:
    """What is kept is counted by all processes together; nothing but a picture that nobody had is decoded."""
    crop = [{"type": "RandomResizedCrop", "randomResizedCrop": {"size": 12}}]
    recipe = {"training": {"epochs": 2, "augmentation": crop}, "maxTrialCount": 4, "earlyStopping": None}
    for slots, store in ((1, "in-turn"), (2, "side-by-side")):
        ended = run(
            a_job(data, tmp_path / store, parallelTrialCount=slots, **recipe),
            cache=tmp_path / f"{store}-cache",
        )
        assert ended.error is None, ended.error
        pictures = DecodedCache(tmp_path / f"{store}-cache" / "decoded", bound=1 << 30).usage().writes
        assert pictures == 2 * ROWS + MEASURED
    assert ledger_of(tmp_path / "side-by-side") == ledger_of(tmp_path / "in-turn")


def test_sweeps_differ(data: Path, tmp_path: Path, in_turn: tuple[bytes, int]) -> None:
    """Check the check: a ledger that ignored what was trained would make every comparison above pass."""
    run(a_job(data, tmp_path, training={"seed": 4}, parallelTrialCount=2))
    assert ledger_of(tmp_path) != in_turn[0]


def a_while(condition: Callable[[], T], what: str) -> T:
    """Wait for something that is going to happen; return it."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


def begun(output: Path) -> set[Path]:
    """Return the folders of the runs that have a checkpoint."""
    return {path.parents[1] for path in output.glob("runs/*/checkpoints/*.json")}


def training_now(output: Path) -> list[int]:
    """Return the processes that train runs which have a checkpoint and are not at their end."""
    runs = [run for run in runs_of(output) if checkpoint_steps(run) and not run.finished()]
    return [read_claim(run, highest_attempt(run)).process.pid for run in runs]


def test_a_killed_process_costs_a_retry_and_changes_nothing(
    data: Path, tmp_path: Path, in_turn: tuple[bytes, int]
) -> None:
    long = {"training": {"epochs": 60}, "maxTrialCount": 3, "parallelTrialCount": 2}
    ended: list[SweepDriverExit] = []
    thread = threading.Thread(target=lambda: ended.append(run(a_job(data, tmp_path / "hit", **long))))
    thread.start()
    victim = a_while(lambda: training_now(tmp_path / "hit"), "no run has a checkpoint")[0]
    assert victim != os.getpid(), "an actor trains"
    os.kill(victim, signal.SIGKILL)
    thread.join()
    assert ended[0].error is None, ended[0].error
    assert max(map(highest_attempt, runs_of(tmp_path / "hit"))) > 1, "the run was tried again"
    run(a_job(data, tmp_path / "straight", **(long | {"parallelTrialCount": 1})))
    assert ledger_of(tmp_path / "hit") == ledger_of(tmp_path / "straight")


def test_a_run_that_hangs_is_ended_and_tried_again(data: Path, tmp_path: Path) -> None:
    marker, code = tmp_path / "hung", tmp_path / "code"
    code.mkdir()
    (code / "hanging.py").write_text(HANGING.format(marker=str(marker)))
    limits = {"progressDeadlineSeconds": 20, "backoffLimit": 5}
    fields = {"model": {"entrypoint": "hanging:Sometimes"}, "earlyStopping": None, "maxTrialCount": 2}
    ended = run(a_job(data, tmp_path / "runs", parallelTrialCount=2, **fields, **limits), code=code)
    assert ended.error is None, ended.error
    assert marker.exists(), "a run hung"
    assert max(map(highest_attempt, runs_of(tmp_path / "runs"))) > 1, "the run was tried again"
    assert ended.status.trials is not None
    assert ended.status.trials.succeeded == 2
    run(a_job(data, tmp_path / "in-turn", **fields), code=code)
    assert ledger_of(tmp_path / "runs") == ledger_of(tmp_path / "in-turn")


def test_told_to_stop_it_keeps_the_state_of_all_runs_and_goes_on(data: Path, tmp_path: Path) -> None:
    long = {"training": {"epochs": 200}, "maxTrialCount": 2, "parallelTrialCount": 2, "earlyStopping": None}
    stopping = threading.Event()
    ended: list[SweepDriverExit] = []
    thread = threading.Thread(target=lambda: ended.append(run(a_job(data, tmp_path, **long), stopping)))
    thread.start()
    a_while(lambda: len(begun(tmp_path)) == 2, "two runs have checkpoints")
    stopping.set()
    thread.join()
    assert ended[0].exit_code == 143
    assert not list(tmp_path.glob("sweeps/*/ledger.json"))
    told = steps_of(tmp_path)
    assert told < 2 * 200 * STEPS
    again = run(a_job(data, tmp_path, **long))
    assert again.exit_code == 0, again.error
    assert steps_of(tmp_path) == 2 * 200 * STEPS, "no step was lost, none was done twice"
