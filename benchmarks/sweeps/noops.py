"""Trials that do nothing: the cost of searcher, scheduler, actors and sweep record.

`python benchmarks/sweeps/noops.py CASE TRIALS`, two at a time.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sweeps.measuring import Stretch, measured, only_figures_on_stdout, tell

SLOTS = 2
LEAST, MOST = 1e-4, 1e-1


def loss_of(rate: float) -> float:
    """Return what a trial reports."""
    return abs(rate - 0.01)


def sweep_of_nothing(output: Path, trials: int, **changes: Any) -> Any:
    """Return a sweep whose dataset is never opened."""
    from seedbed.driver.resolve_run import RunOptions
    from seedbed.sweeps.resolve_sweep import ResolvedSweep
    from seedbed_api.manifest_loader import sweep_job

    recipe = {
        "dataset": {"uri": "nowhere"},
        "model": {"name": "simple-cnn"},
        "training": {"epochs": 1, "optimizer": {"type": "SGD", "learningRate": "0.1"}},
        "evaluation": {"everyEpochs": 1},
    }
    rate = {
        "name": "lr",
        "fieldPath": "spec.training.optimizer.learningRate",
        "searchSpace": {"logUniform": {"min": "1e-4", "max": "1e-1"}},
    }
    spec = {
        "objective": {"metric": "validation/loss", "direction": "Minimize"},
        "algorithm": {"type": "Random", "seed": 1},
        "parameters": [rate],
        "trialTemplate": {"spec": recipe},
        "maxTrialCount": trials,
        "parallelTrialCount": SLOTS,
        "output": {"uri": str(output)},
    }
    job = {"apiVersion": "seedbed.dev/v1alpha1", "kind": "SweepJob", "metadata": {"name": "nothing"}}
    digest = "sha256:" + "2" * 64
    return ResolvedSweep(
        job=sweep_job(job | {"spec": spec | changes}),
        options=RunOptions(probed=({}, "sha256:" + "1" * 64)),
        dataset_digest=digest,
        code_digest=None,
    )


def train_nothing(sweep: Any, stretch: Any, *, stopping: threading.Event, tell: Any) -> Any:
    """Do what surrounds the training of a trial, and claim that it was trained."""
    del stopping, tell
    from seedbed.runs.sweep_record import add_started_run
    from seedbed.search.learning_curve import Finished, LearningCurve
    from seedbed.search.objective_values import SCALE
    from seedbed.search.trial_segment import SegmentResult
    from seedbed.sweeps.resolve_sweep import trial_job
    from seedbed_api.trial_recipe import trial_recipe

    run = trial_job(sweep.job, trial_recipe(sweep.spec, stretch.values), fold=stretch.fold)
    run_id = sweep.run_id(run)
    add_started_run(sweep.folder(), run_id)
    value = round(SCALE * loss_of(float(stretch.values["lr"])))
    return SegmentResult(
        curve=LearningCurve(values=((1, value),), end=Finished(value=value)), run_id=run_id, steps=1
    )


def seedbed(trials: int, folder: Path) -> Stretch:
    """Run Seedbed's own searcher, scheduler, actors and sweep record."""
    from seedbed.ray_cluster.local_ray import local_ray
    from seedbed.search.search_state import Search
    from seedbed.sweeps.finished_sweep import write_sweep_record
    from seedbed.sweeps.sweep_display import SweepDisplay
    from seedbed.sweeps.trial_scheduler import SweepState
    from seedbed.sweeps.tune_runner import run_on_tune

    sweep = sweep_of_nothing(folder / "runs", trials)
    state = SweepState(sweep=sweep, search=Search(sweep.spec))
    with (
        local_ray(workers=SLOTS, gpus=0),
        SweepDisplay("nothing", stream=io.StringIO()) as display,
        measured() as stretch,
    ):
        stopping = threading.Event()
        run_on_tune(state, slots=SLOTS, stopping=stopping, display=display, runner=train_nothing)
        assert state.search.ended is not None
        finished = write_sweep_record(
            sweep, ended=state.search.ended, trials=state.decided, trial_runs=state.trial_runs()
        )
    assert len(finished.trials) == trials
    return stretch


def _tune(trainable: Any, trials: int, folder: Path, *, reuse: bool) -> Stretch:
    import ray
    from ray import tune

    ray.init(
        address="local",
        num_cpus=max(SLOTS, os.cpu_count() or 1),
        include_dashboard=False,
        log_to_driver=False,
    )
    share = {"cpu": max(SLOTS, os.cpu_count() or 1) / SLOTS}
    with measured() as stretch:
        results = tune.Tuner(
            tune.with_resources(trainable, share),
            param_space={"lr": tune.loguniform(LEAST, MOST)},
            tune_config=tune.TuneConfig(metric="loss", mode="min", num_samples=trials, reuse_actors=reuse),
            run_config=tune.RunConfig(
                storage_path=str(folder),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        ).fit()
    assert len(results) == trials
    assert not results.errors
    ray.shutdown()
    return stretch


def tune_reuse(trials: int, folder: Path) -> Stretch:
    """Run Ray Tune with a class that is reset for the next trial."""
    from ray.tune import Trainable

    class Nothing(Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.rate = config["lr"]

        def step(self) -> dict[str, Any]:
            return {"loss": loss_of(self.rate), "done": True}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.rate = new_config["lr"]
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    return _tune(Nothing, trials, folder, reuse=True)


def tune_default(trials: int, folder: Path) -> Stretch:
    """Run Ray Tune as its guide begins: a function that reports."""
    from ray import tune

    def nothing(config: dict[str, Any]) -> None:
        tune.report({"loss": loss_of(config["lr"])})

    return _tune(nothing, trials, folder, reuse=False)


def _optuna_worker(journal: str, trials: int) -> None:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = optuna.storages.JournalStorage(JournalFileBackend(journal))
    study = optuna.load_study(study_name="nothing", storage=storage)
    study.optimize(lambda trial: loss_of(trial.suggest_float("lr", LEAST, MOST, log=True)), n_trials=trials)


def optuna(trials: int, folder: Path) -> Stretch:
    """Run Optuna in joblib's processes, which share a journal."""
    import joblib  # noqa: TID251 - a peer, on values of its own
    from optuna import create_study
    from optuna.samplers import RandomSampler
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    journal = str(folder / "journal.log")
    create_study(
        study_name="nothing", storage=JournalStorage(JournalFileBackend(journal)), sampler=RandomSampler(1)
    )
    with measured() as stretch:
        joblib.Parallel(n_jobs=SLOTS)(
            joblib.delayed(_optuna_worker)(journal, trials // SLOTS) for _ in range(SLOTS)
        )
    return stretch


def syne_tune(trials: int, folder: Path) -> Stretch:
    """Run Syne Tune with its local backend, a process per trial."""
    from syne_tune import Reporter, StoppingCriterion, Tuner  # type: ignore[import-not-found]
    from syne_tune.backend import LocalBackend  # type: ignore[import-not-found]
    from syne_tune.config_space import loguniform  # type: ignore[import-not-found]
    from syne_tune.optimizer.baselines import RandomSearch  # type: ignore[import-not-found]

    del Reporter
    script = folder / "nothing.py"
    script.write_text(
        "from argparse import ArgumentParser\n"
        "from syne_tune import Reporter\n"
        "parser = ArgumentParser()\n"
        "parser.add_argument('--lr', type=float)\n"
        "arguments, _ = parser.parse_known_args()\n"
        "Reporter()(epoch=1, loss=abs(arguments.lr - 0.01))\n"
    )
    os.environ["SYNETUNE_FOLDER"] = str(folder)
    with measured() as stretch:
        Tuner(
            trial_backend=LocalBackend(entry_point=str(script)),
            scheduler=RandomSearch({"lr": loguniform(LEAST, MOST)}, metrics=["loss"], do_minimize=True),
            stop_criterion=StoppingCriterion(max_num_trials_finished=trials),
            n_workers=SLOTS,
            sleep_time=0.1,
            save_tuner=False,
        ).run()
    return stretch


def simulated(trials: int, folder: Path) -> Stretch:
    """Run a long sweep without Ray: the driver's own memory, and the size of its status."""
    from datetime import UTC, datetime

    from seedbed.search.search_state import Search
    from seedbed.sweeps.finished_sweep import write_sweep_record
    from seedbed.sweeps.sweepjob_status_builder import SweepStatusInputs, build_sweep_status
    from seedbed.sweeps.trial_scheduler import SweepState

    sweep = sweep_of_nothing(folder / "runs", trials)
    state = SweepState(sweep=sweep, search=Search(sweep.spec))
    with measured() as stretch:
        while (each := next(state.pending_segments(), None)) is not None:
            stopping = threading.Event()
            state.record_result(each, train_nothing(sweep, each, stopping=stopping, tell=lambda _: None))
        assert state.search.ended is not None
        finished = write_sweep_record(
            sweep, ended=state.search.ended, trials=state.decided, trial_runs=state.trial_runs()
        )
        now = datetime.now(UTC)
        status = build_sweep_status(
            SweepStatusInputs(
                started=now,
                now=now,
                job=sweep.job,
                output=str(folder),
                trials=finished.trials,
                trial_runs=finished.trial_runs,
                finished=finished,
                computed_here=True,
            )
        )
    assert len(finished.trials) == trials
    assert len(status.model_dump_json(by_alias=True, exclude_none=True)) <= 2**16
    return stretch


CASES = {
    "seedbed": seedbed,
    "tune-reuse": tune_reuse,
    "tune-default": tune_default,
    "optuna": optuna,
    "syne-tune": syne_tune,
    "simulated": simulated,
}


def main() -> None:
    """Measure one way to run trials."""
    case, trials = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory(prefix="bench-sweep-") as name, only_figures_on_stdout():
        stretch = CASES[case](trials, Path(name))
    tell(stretch, trials=trials)


if __name__ == "__main__":
    main()
