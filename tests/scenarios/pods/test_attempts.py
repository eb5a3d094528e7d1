"""A driver pod before its workers come: what is finished is found, what changed is refused, what is wrong is told.

No Ray is started: each of these must be answered without a worker.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from seedbed.driver.driver_state import RunRequest
from seedbed.driver.progress_display import ProgressDisplay
from seedbed.driver.resolve_run import RunOptions
from seedbed.driver.run_driver import DriverExit, run_job
from seedbed.ray_cluster.local_ray import LocalCluster
from seedbed_api.manifest_loader import training_job
from seedbed_api.pod_contract.driver_messages import parse_outcome
from seedbed_api.run_identity import ExpectedIdentity
from support.runs.small_run import STEPS, a_dataset, a_manifest

OTHER = "sha256:" + "0" * 64


class NoWorkers(LocalCluster):
    """A cluster that no worker ever joins."""

    def run_task(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("a worker was waited for")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_dataset(tmp_path_factory.mktemp("attempts") / "data")


def attempt(manifest: dict[str, Any], expected: ExpectedIdentity, cluster: LocalCluster) -> DriverExit:
    with ProgressDisplay("test", interactive=False) as display:
        options = RunOptions(expected=expected)
        return run_job(
            RunRequest(
                job=training_job(manifest),
                options=options,
                display=display,
                stopping=threading.Event(),
                cluster=cluster,
            )
        )


def known(ended: DriverExit) -> ExpectedIdentity:
    """Return what the operator keeps of an attempt."""
    status = ended.status
    assert status.dataset is not None
    assert status.environment is not None
    return ExpectedIdentity(
        dataset_digest=status.dataset.digest,
        run_id=status.run_id,
        environment_class=status.environment.class_,
    )


def test_a_finished_run_is_found_without_a_worker(data: Path, tmp_path: Path) -> None:
    manifest = a_manifest(data, tmp_path)
    first = attempt(manifest, ExpectedIdentity(), LocalCluster())
    assert sum(first.state.steps_by_group.values()) == STEPS
    again = attempt(manifest, known(first), NoWorkers())
    assert (again.exit_code, again.state.computed_here) == (0, False)
    assert (again.status.model, again.status.receipt) == (first.status.model, first.status.receipt)
    with pytest.raises(AssertionError, match="waited for"):
        attempt(manifest, ExpectedIdentity(), NoWorkers())


def test_a_run_of_this_machine_tells_its_newest_checkpoint(data: Path, tmp_path: Path) -> None:
    ended = attempt(a_manifest(data, tmp_path), ExpectedIdentity(), LocalCluster())
    assert ended.status.checkpoint is not None
    assert ended.status.checkpoint.step == STEPS
    assert ended.status.checkpoint.digest.startswith("sha256:")


@pytest.mark.parametrize(
    ("expected", "reason", "line"),
    [
        pytest.param(ExpectedIdentity(dataset_digest=OTHER), "DatasetChanged", "holds sha256:", id="dataset"),
        pytest.param(
            ExpectedIdentity(environment_class=OTHER),
            "EnvironmentChanged",
            rf"the job began in environment class {OTHER} .*; restore image",
            id="environment",
        ),
        pytest.param(
            ExpectedIdentity(run_id=OTHER),
            "EnvironmentChanged",
            rf"the job began as run {OTHER}",
            id="code or version",
        ),
    ],
)
def test_what_changed_between_attempts_is_refused(
    data: Path, tmp_path: Path, expected: ExpectedIdentity, reason: str, line: str
) -> None:
    ended = attempt(a_manifest(data, tmp_path), expected, LocalCluster())
    assert ended.error is not None
    assert (ended.exit_code, ended.error.reason) == (2, reason)
    assert re.search(line, ended.error.message)
    assert "\n" not in ended.error.message
    assert not (tmp_path / "runs").exists(), "nothing was written"


def test_a_driver_that_is_told_nonsense_says_so_in_one_line_and_in_its_message(tmp_path: Path) -> None:
    message = tmp_path / "message"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEEDBED_")}
    done = subprocess.run(
        [sys.executable, "-m", "seedbed.cli", "driver"],
        env={
            **environment,
            "SEEDBED_JOB": json.dumps(a_manifest(tmp_path / "nowhere", tmp_path / "runs")),
            "SEEDBED_ATTEMPT": "1",
            "SEEDBED_ROLE": "boss",
            "SEEDBED_TERMINATION_LOG": str(message),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") + done.stdout.count("\n") == 1
    outcome = parse_outcome(message.read_bytes())
    assert outcome is not None
    assert (outcome.result, outcome.reason) == ("Failed", "InvalidSpec")
    assert outcome.message.startswith("SEEDBED_ROLE: ")


def test_a_driver_whose_dataset_is_not_there_ends_before_any_worker(tmp_path: Path) -> None:
    message = tmp_path / "message"
    manifest = a_manifest(tmp_path / "nowhere", tmp_path / "runs")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SEEDBED_")}
    done = subprocess.run(
        [sys.executable, "-m", "seedbed.cli", "driver"],
        env={
            **environment,
            "SEEDBED_ROLE": "driver",
            "SEEDBED_JOB": json.dumps(manifest),
            "SEEDBED_ATTEMPT": "1",
            "SEEDBED_PROGRESS_PORT": "0",
            "SEEDBED_TERMINATION_LOG": str(message),
            "POD_NAME": "t-1-driver",
            "POD_IP": "127.0.0.1",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": "x",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stdout
    outcome = parse_outcome(message.read_bytes())
    assert outcome is not None
    assert (outcome.reason, outcome.attempt) == ("InvalidDataset", 1)
    log = (tmp_path / "runs/logs/t/1/t-1-driver/000000.log").read_text()
    assert f"error: InvalidDataset: {outcome.message}" in log
    assert log in done.stdout
