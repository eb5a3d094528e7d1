"""A real MLflow server beside the cluster is told of a training and of a sweep in pods, by a Secret that names it."""

from __future__ import annotations

import json
import os
import signal
import sys
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.jobs import Jobs
from e2e.sweeps import TRIALS, Sweep, a_sweep
from support.eventually import NotSeen, eventually
from testbed.boxes import Box
from testbed.control_plane import MACHINE_ADDRESS
from testbed.kube import Json
from testbed.testbeds import Testbed

PROGRAM = os.environ.get("SEEDBED_MLFLOW", "")
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.exhaustive,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not PROGRAM, reason="not run: SEEDBED_MLFLOW names no `mlflow` that can serve"),
]
URL = f"http://{MACHINE_ADDRESS}:5000"
ASKED = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(tracking_uri=sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2])
runs = client.search_runs([experiment.experiment_id]) if experiment else []
print(json.dumps([{
    "status": run.info.status,
    "tags": dict(run.data.tags),
    "losses": len(client.get_metric_history(run.info.run_id, "training/loss")),
} for run in runs]))
"""


@pytest.fixture
def server(testbed: Testbed, tmp_path: Path) -> Iterator[Box]:
    """Run an MLflow server where pods reach it."""
    store = (
        "--backend-store-uri",
        f"sqlite:///{tmp_path}/mlflow.db",
        "--artifacts-destination",
        str(tmp_path),
    )
    listening = ("--host", "0.0.0.0", "--port", "5000", "--workers", "1", "--allowed-hosts", "*")
    daemon = testbed.box.start("mlflow", PROGRAM, "server", *store, *listening)
    try:
        eventually(lambda: told_of(testbed.box, "none") == [], what="MLflow", servers=(daemon,))
        yield testbed.box
    finally:
        daemon.stop(signal.SIGTERM, seconds=60)


def told_of(box: Box, experiment: str) -> list[Json] | None:
    """Return the runs of an experiment as the server has them; None where it does not answer."""
    try:
        return list(json.loads(box.run(sys.executable, "-c", ASKED, URL, experiment)))
    except NotSeen:
        return None


def name_server(jobs: Jobs) -> None:
    """Add the server to the Secret of the output."""
    secret = f"/api/v1/namespaces/{jobs.namespace}/secrets/s3-write"
    jobs.testbed.kube.patch(secret, {"data": {"MLFLOW_TRACKING_URI": b64encode(URL.encode()).decode()}})


def test_a_training_and_a_sweep_in_pods_are_runs_of_the_server(server: Box, jobs: Jobs) -> None:
    name_server(jobs)
    job = jobs.apply(workers=(1, 1), every=100)
    status = job.await_complete()
    (run,) = told_of(server, f"{jobs.namespace}/{job.name}") or []
    assert (run["status"], run["losses"]) == ("FINISHED", status["progress"]["totalSteps"])
    assert run["tags"]["seedbed.weights_digest"] == status["model"]["weightsDigest"]

    sweep = Sweep(testbed=jobs.testbed, namespace=jobs.namespace, name="told", output="s3://runs/told")
    jobs.made.append(sweep)
    jobs.testbed.kube.apply(a_sweep(sweep.name, sweep.output), namespace=jobs.namespace)
    trials = sweep.await_complete()["trials"]
    runs = told_of(server, f"{jobs.namespace}/{sweep.name}") or []
    below = [each for each in runs if "mlflow.parentRunId" in each["tags"]]
    assert (len(runs), len(below)) == (TRIALS + 1, TRIALS)
    assert sorted(each["status"] for each in below) == sorted(
        ["FINISHED"] * trials["succeeded"] + ["KILLED"] * trials["pruned"]
    )
