"""A TrainingJob on real pods: applied, waited for, suspended, grown, deleted; always the model of `seedbed run`."""

from __future__ import annotations

import itertools
import json

import pytest

from determinism.jobs import expected_leaves
from e2e.jobs import TOTAL_STEPS, Job, Jobs, Straight, check_same_model, check_steps
from e2e.stocking import EXAMPLE
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_the_example_trains_to_the_model_of_one_command(
    testbed: Testbed, jobs: Jobs, straight: Straight
) -> None:
    kube, namespace = testbed.kube, jobs.namespace
    job = Job(testbed=testbed, namespace=namespace, name="digits", output="s3://runs")
    jobs.made.append(job)
    assert "created" in kube.kubectl("apply", "-n", namespace, "-f", str(EXAMPLE))
    job.await_training()
    listed = columns(kube.kubectl("get", "trainingjobs", "-n", namespace))
    assert set(listed) == {"NAME", "STATUS", "PROGRESS", "WORKERS", "AGE"}
    assert listed["STATUS"] in ("Training", "Evaluating", "Checkpointing")

    wait = ("wait", "--for=condition=Complete", "trainingjob/digits", "-n", namespace, "--timeout=240s")
    assert "condition met" in kube.kubectl(*wait, seconds=300)
    assert job.pods() == [], "Complete comes after the last pod"
    check_same_model(job, straight)
    assert check_steps(job, every=100) == [0]
    (group,) = job.told()
    assert group[-1]["leavesByWorker"] == expected_leaves(8, 2, TOTAL_STEPS)
    check_status(job, straight)

    wide = columns(kube.kubectl("get", "tjob", "-n", namespace, "-o", "wide"))
    assert (wide["STATUS"], wide["ATTEMPTS"], wide["DIGEST"]) == ("Trained", "1", straight.weights)
    events = kube.items(f"/apis/events.k8s.io/v1/namespaces/{namespace}/events")
    ours = [event["reason"] for event in events if event["regarding"]["kind"] == "TrainingJob"]
    assert sorted(ours) == ["Trained", "Training"]


def check_status(job: Job, straight: Straight) -> None:
    """Check that a person and a tool find in the status what they need."""
    status = job.status()
    assert status["backend"] == "Pods"
    assert status["attempts"] == 1
    assert {
        name for name in ("failures", "infrastructureFailures", "preemptions") if status.get(name)
    } == set()
    assert status["environment"]["image"].endswith(status["environment"]["imageDigest"])
    assert status["environment"]["profileGeneration"] == 1
    assert status["dataset"] == straight.status["dataset"]
    assert status["metrics"] == straight.status["metrics"]
    assert status["progress"]["step"] == status["progress"]["totalSteps"] == TOTAL_STEPS
    assert status["workers"]["desired"] == 2
    assert status["model"]["uri"] == f"s3://runs/runs/{status['runID'].removeprefix('sha256:')}/model"
    assert status["receipt"]["digest"].startswith("sha256:")
    assert {timing["name"] for timing in status["timings"]} >= {"WorkersStarted", "FirstStep"}
    assert status["startTime"] < status["completionTime"]
    stored = job.folder
    assert stored is not None
    assert json.loads(stored.objects.read("receipt.json"))["_type"] == "https://in-toto.io/Statement/v1"
    logs = job.testbed.s3.outside.root / "runs" / "logs"
    assert {path.parent.name for path in logs.glob("*/1/*/*.log")} == {
        "digits-1-driver",
        "digits-1-worker-0",
        "digits-1-worker-1",
    }


def columns(table: str) -> dict[str, str]:
    """Return the only row of what `kubectl get` prints, by header."""
    header, row = table.splitlines()
    starts = [header.index(name) for name in header.split()] + [None]
    cells = itertools.pairwise(starts)
    return {header[a:b].strip(): row[a:b].strip() for a, b in cells}
