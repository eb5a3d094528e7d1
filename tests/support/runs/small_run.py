"""A run of 8 steps in one process, complete with receipt; as the driver makes it, without Ray and display."""

from __future__ import annotations

import copy
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from seedbed.arithmetic.subtree_exchange import Exchange, SingleProcessExchange
from seedbed.driver.finalize_run import ExecutionDetails, finalize_run
from seedbed.driver.resolve_run import ResolvedRun, RunOptions, resolve_run, worker_config_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.receipts import read_receipt
from seedbed.replay.receipt_location import LocatedReceipt, read_only_run_folder
from seedbed.runs import ENVIRONMENT, RECIPE, LedgerSegment, RunFolder
from seedbed.runs.training_result import read_training_result
from seedbed.storage import open_storage
from seedbed.training.worker import Worker
from seedbed.training.worker_config import WorkerConfig
from seedbed_api.canonical_json import canonical_json
from seedbed_api.manifest_loader import training_job
from support.datasets.small_datasets import write_dataset
from support.runs.no_driver import NoDriver

STEPS, EVERY, EVALUATE, LEAVES, LEAF_ROWS = 8, 3, 4, 4, 3

Trainer = Callable[[WorkerConfig], None]


def a_manifest(data: Path, output: Path, **training: Any) -> dict[str, Any]:
    """Return a manifest: checkpoints after 3, 6 and 8 steps, evaluations after 4 and 8."""
    recipe = {
        "steps": STEPS,
        "seed": 5,
        "batch": {"globalSize": LEAVES * LEAF_ROWS, "microSize": LEAF_ROWS},
        "optimizer": {"type": "SGD", "learningRate": "0.05", "sgd": {"momentum": "0.9"}},
        "augmentation": [{"type": "RandomResizedCrop", "randomResizedCrop": {"size": 16}}],
    }
    spec = {
        "dataset": {"uri": str(data)},
        "model": {"name": "simple-cnn", "args": [{"name": "width", "value": "4"}]},
        "training": recipe | training,
        "evaluation": {"everySteps": EVALUATE},
        "output": {"uri": str(output)},
        "checkpoint": {"everySteps": EVERY},
        "cluster": {"feed": "Local", "workers": {"min": 1, "max": 1}},
    }
    return {
        "apiVersion": "seedbed.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {"name": "t"},
        "spec": spec,
    }


def a_dataset(folder: Path) -> Path:
    """Write 41 train, 9 validation and 7 test pictures."""
    write_dataset(open_storage(str(folder)), rows={"train": 41, "validation": 9, "test": 7})
    return folder


def in_process(program: WorkerConfig) -> None:
    """Train alone in this process."""
    Worker(program, exchange=SingleProcessExchange(), link=NoDriver()).train()


def as_worker(exchange: Exchange, program: WorkerConfig) -> None:
    """Train as one worker of a harness group."""
    Worker(program, exchange=exchange, link=NoDriver()).train()


def train_run(manifest: dict[str, Any], trainer: Trainer = in_process) -> Path:
    """Train to the end, write the receipt, return the run folder."""
    run = resolve_run(training_job(copy.deepcopy(manifest)), RunOptions(), StartupTimings())
    run.folder.publish(RECIPE, canonical_json(run.resolved))
    run.folder.publish(ENVIRONMENT, canonical_json(dict(run.environment)))
    trainer(worker_config_of(run, attempt=1, workers=WorkerRange(least=1, most=1)))
    _conclude(run)
    return Path(run.folder.url.removeprefix("file://"))


def _conclude(run: ResolvedRun) -> None:
    outcome = read_training_result(run.folder)
    assert outcome is not None
    now = datetime(2026, 1, 1, tzinfo=UTC)
    finalize_run(
        run, outcome, ExecutionDetails(started=now, finished=now, version="0", attempt=1, workers=(1,))
    )


def claim_of(run: Path, *, alone: bool = False) -> LocatedReceipt:
    """Return the claim of a run folder; `alone` without the folder."""
    receipt = read_receipt(run)
    folder = None if alone else folder_of(run)
    return LocatedReceipt(receipt=receipt, shown=str(run), folder=folder)


def folder_of(run: Path) -> RunFolder:
    """Return the run folder at a path."""
    return read_only_run_folder(open_storage(str(run)), f"sha256:{run.name}")


def objects_of(run: Path) -> dict[str, bytes]:
    """Return every file of a run folder with its bytes."""
    return {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*")) if path.is_file()
    }


def rewrite(run: Path, step: int, change: Callable[[LedgerSegment, int], LedgerSegment]) -> None:
    """Replace the segment that holds 0-based `step` by a changed one, checksum and name included."""
    from seedbed.runs.ledger import parse_segment

    for path in (run / "ledger").iterdir():
        segment = parse_segment(path.read_bytes())
        if segment.first <= step < segment.stop:
            changed = change(segment, step - segment.first)
            path.unlink()
            (run / changed.path).write_bytes(changed.to_bytes())
            return
    raise AssertionError(f"no segment holds step {step}")
