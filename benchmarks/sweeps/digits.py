"""A small real sweep on handwritten digits with the peers of `seedbed run`.

`python benchmarks/sweeps/digits.py CASE PROBLEM`, two trials at a time. PROBLEM is JSON which
`benchmarks/sweep.py` writes: the same rows, the same points in the same order, the same network and optimizer
as Seedbed's; images are decoded and in memory before the start.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from sweeps.measuring import measured, only_figures_on_stdout, tell

SLOTS = 2
WIDTH, BATCH, SIZE = 8, 64, 16
MOMENTUM = 0.9
REDUCTION = 3


class Problem:
    """What everybody is asked."""

    def __init__(self, path: str) -> None:
        document = json.loads(Path(path).read_text())
        self.pictures = document["pictures"]
        """An npz of train and validation rows, uint8."""
        self.points: list[dict[str, float]] = document["points"]
        self.epochs: int = document["epochs"]
        self.target: float = document["target"]


def losses_of(pictures: str, point: dict[str, float], epochs: int) -> Iterator[float]:
    """Train a network and yield the validation loss after each epoch."""
    import numpy as np
    import torch
    from torch.nn import functional as F

    from seedbed.models.model_registry import build_model

    torch.set_num_threads(1)
    torch.manual_seed(42)
    with np.load(pictures) as rows:
        tensors = {name: torch.from_numpy(rows[name]) for name in rows.files}
    train = tensors["train"].permute(0, 3, 1, 2).float() / 127.5 - 1
    validation = tensors["validation"].permute(0, 3, 1, 2).float() / 127.5 - 1
    model = build_model("simple-cnn", {"width": str(WIDTH)}, classes=10, seed=42)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=point["lr"], momentum=MOMENTUM, weight_decay=point["decay"]
    )
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(train)).split(BATCH):
            loss = F.cross_entropy(model(train[rows]), tensors["train_labels"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            yield float(F.cross_entropy(model(validation), tensors["validation_labels"]))


def random(problem: Problem, folder: Path) -> dict[str, Any]:
    """Train every point to its end: the best loss is what the others are to come to."""
    del folder
    finals = [list(losses_of(problem.pictures, point, problem.epochs))[-1] for point in problem.points]
    return {"best": min(finals), "epochs": len(finals) * problem.epochs}


def tune_asha(problem: Problem, folder: Path) -> dict[str, Any]:
    """Run Ray Tune's asynchronous successive halving, with actors that are used again."""
    import ray
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import BasicVariantGenerator
    from ray.tune.stopper import Stopper

    class Content(Stopper):
        hit = False

        def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:  # noqa: ARG002
            self.hit = self.hit or result["loss"] <= problem.target
            return self.hit or result["training_iteration"] >= problem.epochs

        def stop_all(self) -> bool:
            return self.hit

    class Digits(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.losses = losses_of(problem.pictures, config, problem.epochs)

        def step(self) -> dict[str, Any]:
            return {"loss": next(self.losses)}

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self.setup(new_config)
            return True

        def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:  # noqa: ARG002
            return {}

        def load_checkpoint(self, checkpoint: Any) -> None: ...

    cores = max(SLOTS, os.cpu_count() or 1)
    ray.init(address="local", num_cpus=cores, include_dashboard=False, log_to_driver=False)
    content = Content()
    results = tune.Tuner(
        tune.with_resources(Digits, {"cpu": cores / SLOTS}),
        param_space={"lr": tune.loguniform(1e-4, 1), "decay": tune.loguniform(1e-6, 1e-2)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=len(problem.points),
            reuse_actors=True,
            search_alg=BasicVariantGenerator(points_to_evaluate=problem.points),
            scheduler=ASHAScheduler(max_t=problem.epochs, grace_period=1, reduction_factor=REDUCTION),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0, stop=content),
    ).fit()
    epochs = sum((result.metrics or {}).get("training_iteration", 0) for result in results)
    ray.shutdown()
    return {"reached": content.hit, "epochs": epochs}


def _optuna_worker(problem: Problem, journal: str, hit: str) -> int:
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(
        study_name="digits",
        storage=optuna.storages.JournalStorage(JournalFileBackend(journal)),
        pruner=optuna.pruners.HyperbandPruner(1, problem.epochs, REDUCTION),
    )
    done = 0

    def objective(trial: optuna.Trial) -> float:
        nonlocal done
        point = {
            "lr": trial.suggest_float("lr", 1e-4, 1, log=True),
            "decay": trial.suggest_float("decay", 1e-6, 1e-2, log=True),
        }
        loss = float("inf")
        for epoch, loss in enumerate(losses_of(problem.pictures, point, problem.epochs), start=1):
            done += 1
            if loss <= problem.target:
                Path(hit).touch()
            if Path(hit).exists():
                study.stop()
                return loss
            trial.report(loss, epoch)
            if trial.should_prune():
                raise optuna.TrialPruned
        return loss

    def enough(study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        del trial
        if not study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.WAITING,)):
            study.stop()

    study.optimize(objective, callbacks=[enough])
    return done


def optuna_hyperband(problem: Problem, folder: Path) -> dict[str, Any]:
    """Run Optuna with its Hyperband, in joblib's processes that share a journal."""
    import joblib  # noqa: TID251 - a peer, on values of its own
    import optuna
    from optuna.storages.journal import JournalFileBackend

    journal, hit = str(folder / "journal.log"), str(folder / "hit")
    storage = optuna.storages.JournalStorage(JournalFileBackend(journal))
    study = optuna.create_study(study_name="digits", storage=storage)
    for point in problem.points:
        study.enqueue_trial(point)
    epochs = joblib.Parallel(n_jobs=SLOTS)(
        joblib.delayed(_optuna_worker)(problem, journal, hit) for _ in range(SLOTS)
    )
    return {"reached": Path(hit).exists(), "epochs": sum(epochs)}


CASES = {"random": random, "tune-asha": tune_asha, "optuna-hyperband": optuna_hyperband}


def main() -> None:
    """Run one way to search."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-sweep-") as name,
        only_figures_on_stdout(),
        measured() as stretch,
    ):
        figures = CASES[sys.argv[1]](Problem(sys.argv[2]), Path(name))
    tell(stretch, **figures)


if __name__ == "__main__":
    main()
