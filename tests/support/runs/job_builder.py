"""Jobs of this tier: a builder, the recipes that are compared, and what every run must show besides its digest."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from seedbed.arithmetic.reduction_tree import leaf_ranges
from seedbed.driver.driver_state import RunRequest
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import RunOptions, worker_config_of
from seedbed.driver.run_driver import DriverExit, run_job
from seedbed.order import BatchPlan, EpochShuffle
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.receipts import read_receipt
from seedbed.runs.attempt_event_log import read_events
from seedbed.runs.exactly_once import check_exactly_once
from seedbed.runs.ledger import LedgerReader
from seedbed.runs.run_folder import RunFolder
from seedbed_api.manifest_loader import training_job
from seedbed_api.trainingjob import TrainingJob

RESIZE = [{"type": "Resize", "resize": {"size": 16}}]
AUGMENTED = [
    {"type": "RandomResizedCrop", "randomResizedCrop": {"size": 16, "scaleMin": "0.5"}},
    {"type": "HorizontalFlip"},
    {"type": "Rotation", "rotation": {"degrees": "10"}},
    {"type": "ColorJitter", "colorJitter": {"brightness": "0.2", "contrast": "0.2", "saturation": "0.2"}},
]
SGD = {"type": "SGD", "learningRate": "0.05", "weightDecay": "5e-4", "sgd": {"momentum": "0.9"}}
ADAMW = {"type": "AdamW", "learningRate": "0.001", "weightDecay": "0.01"}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What decides the bits."""

    model: str = "simple-cnn"
    args: dict[str, str] = field(default_factory=lambda: {"width": "4", "dropout": "0.2"})
    leaves: int = 8
    leaf_rows: int = 4
    steps: int = 8
    optimizer: dict[str, Any] = field(default_factory=lambda: SGD)
    augmentation: list[dict[str, Any]] = field(default_factory=lambda: RESIZE)
    training: dict[str, Any] = field(default_factory=dict)

    def spec(self) -> dict[str, Any]:
        """Return the recipe blocks of a manifest, without the dataset."""
        size = self.leaves * self.leaf_rows
        training = {
            "steps": self.steps,
            "seed": 7,
            "batch": {"globalSize": size, "microSize": self.leaf_rows},
            "optimizer": self.optimizer,
            "augmentation": self.augmentation,
        }
        args = [{"name": name, "value": value} for name, value in self.args.items()]
        return {
            "model": {"name": self.model, "args": args},
            "training": training | self.training,
            "evaluation": {"everySteps": 4},
        }


RESNET = {"width": "4", "stem": "small"}
RECIPES = {
    "simple-cnn L=8 m=4 SGD": Recipe(),
    "simple-cnn L=4 m=5 AdamW augmented": Recipe(
        leaves=4,
        leaf_rows=5,
        optimizer=ADAMW,
        augmentation=AUGMENTED,
        training={"ema": {"decay": "0.9"}},
    ),
    "resnet18 L=8 m=3 augmented": Recipe(
        model="resnet18", args=RESNET, leaf_rows=3, steps=6, augmentation=AUGMENTED
    ),
    "simple-cnn L=16 m=2 BFloat16 mixup": Recipe(
        leaves=16,
        leaf_rows=2,
        training={"precision": "BFloat16"},
        augmentation=[*RESIZE, {"type": "Mixup", "mixup": {"alpha": "0.4"}}],
    ),
}


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a job is executed; nothing of it may change a bit."""

    least: int = 1
    most: int = 1
    feed: str = "Local"
    every_steps: int = 3

    def __str__(self) -> str:
        workers = str(self.most) if self.least == self.most else f"{self.least}:{self.most}"
        return f"W={workers} {self.feed}"


def manifest(recipe: Recipe, way: Way, *, data: Path, output: str) -> dict[str, Any]:
    """Return the manifest of a job."""
    execution = {
        "dataset": {"uri": str(data)},
        "output": {"uri": output},
        "checkpoint": {"everySteps": way.every_steps},
        "cluster": {"workers": {"min": way.least, "max": way.most}, "feed": way.feed},
    }
    return {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "digits"},
        "spec": recipe.spec() | execution,
    }


def a_job(recipe: Recipe, way: Way, *, data: Path, output: Path) -> TrainingJob:
    """Return the job."""
    return training_job(manifest(recipe, way, data=data, output=str(output)))


def run(job: TrainingJob) -> DriverExit:
    """Run a job in this process, as `seedbed run` would."""
    with ProgressDisplay("test", interactive=False) as display:
        request = RunRequest(job=job, options=RunOptions(), display=display, stopping=threading.Event())
        return run_job(request)


def digest_of(ended: DriverExit) -> str:
    """Return the weights digest of a run that ended well."""
    assert ended.error is None, ended.error
    assert ended.status.model is not None
    return ended.status.model.weights_digest


def deterministic_receipt(ended: DriverExit) -> str:
    """Return the digest of what the run identity decides, from the stored receipt."""
    return read_receipt(folder_of(ended).objects).deterministic_digest


def folder_of(ended: DriverExit) -> RunFolder:
    """Return the run folder."""
    assert ended.state.run is not None
    return ended.state.run.folder


def prove(ended: DriverExit, *, resumed: bool = False) -> None:
    """Assert what makes a digest worth comparing: all steps were computed here, by all workers, from all rows."""
    assert ended.error is None, ended.error
    run, folder = ended.state.run, folder_of(ended)
    assert run is not None
    workers = WorkerRange(least=1, most=1)
    program = worker_config_of(run, attempt=1, workers=workers)
    total, leaves = program.schedule.total_steps, program.arithmetic.leaves
    if not resumed:
        assert ended.state.computed_here
        assert steps_executed(folder) == total
        (group,) = groups(folder)
        assert group[-1]["leavesByWorker"] == expected_leaves(leaves, group[-1]["workers"], total)
    view = run.dataset.view(split="train")
    coverage = check_exactly_once(
        LedgerReader(folder=folder),
        view_rows=view.row_numbers(),
        total_steps=total,
        epochs=program.stream.epochs,
    )
    consumed = coverage.epochs * coverage.rows_per_epoch + coverage.partial + len(coverage.fill)
    assert consumed == total * program.arithmetic.leaves * program.arithmetic.leaf_rows
    plan = BatchPlan(
        order=EpochShuffle(seed=program.stream.seed, view=view, window=program.stream.window),
        leaves=leaves,
        leaf_rows=program.arithmetic.leaf_rows,
        total_steps=total,
    )
    for step, rows in LedgerReader(folder=folder).rows(stop=total):
        planned = [plan.rows(step, leaf) for leaf in range(leaves)]
        assert np.array_equal(rows, planned), f"step {step} left the plan"


def expected_leaves(leaves: int, world: int, steps: int) -> list[int]:
    """Return how many leaves each worker computes in so many steps."""
    return [len(own) * steps for own in leaf_ranges(leaves, world)]


def groups(folder: RunFolder) -> list[list[dict[str, Any]]]:
    """Return the progress events by worker group, in order of appearance."""
    found: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    for event in read_events(folder):
        if event["kind"] == "Progress":
            found.setdefault((event["attempt"], event["workers"], event["resumedFrom"]), []).append(event)
    return list(found.values())


def steps_executed(folder: RunFolder) -> int:
    """Return the steps that all worker groups computed, as far as they told."""
    return sum(max(event["step"] for event in group) - group[0]["resumedFrom"] for group in groups(folder))
