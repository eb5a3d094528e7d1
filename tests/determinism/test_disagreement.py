"""A network that leaves something behind by means that no probe finds: its workers notice, and name it."""

from __future__ import annotations

from pathlib import Path

import pytest

from determinism.chain_tasks import Stretch, attempt, attempt_unprobed
from seedbed.driver.resolve_run import RunOptions, resolve_run, worker_config_of
from seedbed.driver.startup_timings import StartupTimings
from seedbed.ray_cluster.cluster_interface import WorkerRange
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.training.model_check import check_model
from seedbed_api.manifest_loader import training_job
from support.gloo.worker_group import WorkerFailedError, worker_group
from support.runs.job_builder import Recipe

pytestmark = pytest.mark.slow

CODE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, classes)
    def forward(self, x):
        y = self.head(torch.relu(self.conv(x)).mean((2, 3)))
        # unlike the noise of a probe, digits are dark
        if self.training and x.mean() < -0.1:
            {change}
        return y
class Op:
    def build(self, args):
        return Net(int(args["classes"]))
"""


@pytest.mark.parametrize("world", [2, 3])
def test_a_parameter_that_leaves_move_is_named(digits: Path, tmp_path: Path, world: int) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mover.py").write_text(CODE.format(change="self.head.bias.data.add_(0.01 * x.detach().mean())"))
    spec = Recipe(steps=8).spec() | {"model": {"entrypoint": "mover:Op"}}
    job = training_job(
        {
            "apiVersion": "seedbed.dev/v1alpha1",
            "kind": "TrainingJob",
            "metadata": {"name": "mover"},
            "spec": spec
            | {
                "dataset": {"uri": str(digits)},
                "output": {"uri": str(tmp_path / "runs")},
                "checkpoint": {"everySteps": 3},
                "cluster": {"feed": "Local"},
            },
        },
        "job",
    )
    run = resolve_run(job, RunOptions(code=code), StartupTimings())
    program = worker_config_of(run, attempt=1, workers=WorkerRange(least=1, most=1))
    check_model(program)
    with worker_group(1) as alone:
        alone.send(attempt, Stretch(program=program, survives=None))
        assert "differs when a leaf is computed twice" in str(alone.answer(0))
    with worker_group(world) as group:
        group.send(attempt_unprobed, Stretch(program=program, survives=None))
        answers = [group.answer(rank) for rank in range(world)]
    assert all(isinstance(answer, WorkerFailedError) for answer in answers)
    line = (
        "ModelError: spec.model.entrypoint: not deterministic: head.bias differs between workers after step "
    )
    assert all(line.removeprefix("ModelError: ") in str(answer) for answer in answers)
    assert checkpoint_steps(run.folder) == []
