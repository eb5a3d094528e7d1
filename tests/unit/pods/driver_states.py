"""The state of a driver with a training in it."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

from seedbed.driver.driver_state import DriverState, RunRequest
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import RunOptions
from seedbed.ray_cluster.local_ray import LocalCluster
from seedbed.training.run_progress import RunProgress, SavedCheckpoint
from seedbed_api.manifest_loader import training_job

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"

NOW = datetime(2026, 5, 4, 12, 0, 0, tzinfo=UTC)

KEPT = SavedCheckpoint(step=20, digest="sha256:" + "a" * 64, time=NOW.timestamp() - 60)

TRAINING = RunProgress(
    step=25,
    total_steps=100,
    epoch=2,
    loss=0.5,
    accuracy=0.875,
    validation_loss=0.75,
    images_per_second=123.0,
    seconds_left=90.0,
    phase="Training",
    checkpoint=KEPT,
)


class Three(LocalCluster):
    """A cluster whose pods hold three ranks."""

    def available_ranks(self) -> int:
        return 3


def a_driver_state(**known: Any) -> DriverState:
    job = training_job(
        {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "digits"},
            "spec": {
                "dataset": {"uri": "data"},
                "model": {"name": "simple-cnn"},
                "training": {
                    "steps": 100,
                    "seed": 1,
                    "batch": {"globalSize": 8, "microSize": 2},
                    "optimizer": {"type": "SGD", "learningRate": "0.1"},
                    "augmentation": [{"type": "Resize", "resize": {"size": 16}}],
                },
                "output": {"uri": "runs"},
                "cluster": {"workers": {"min": 1, "max": 2}},
            },
        }
    )
    request = RunRequest(
        job=job,
        options=RunOptions(),
        display=ProgressDisplay("test", interactive=False),
        stopping=threading.Event(),
        cluster=Three(),
    )
    return DriverState(request=request, **known)
