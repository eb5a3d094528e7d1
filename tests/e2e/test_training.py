"""A TrainingJob on real pods: applied, waited for, suspended, grown, deleted; always the model of `seedbed run`."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from e2e.chart_release import Release
from e2e.cluster_terminal import terminal_on
from e2e.jobs import (
    TOTAL_STEPS,
    Job,
    Jobs,
    Straight,
    check_same_model,
    check_steps,
    example,
    holds,
    stopped_ranks,
)
from e2e.kubectl_output import columns, left_of
from e2e.stores import SECRETS
from support.docs.pages import commands
from support.docs.terminal import Terminal
from support.eventually import eventually
from support.runs.job_builder import expected_leaves
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1200)]


def test_what_the_guide_tells_to_type_trains_the_example_to_the_model_of_one_command(
    testbed: Testbed, jobs: Jobs, straight: Straight, tmp_path: Path
) -> None:
    kube, namespace = testbed.kube, jobs.namespace
    job, terminal = newcomer(testbed, jobs, tmp_path)
    said = {}
    for line in commands("docs/guide.md", "console"):
        said[line.partition(" --")[0]] = terminal.types(line).stdout
        if line.startswith("kubectl apply"):
            check_it_is_listed_while_it_trains(job)

    assert "created" in said["kubectl apply -f examples/digits.yaml"]
    assert "digits" in said["kubectl get trainingjobs -o wide"]
    assert "condition met" in said["kubectl wait"]
    speakers = {line.split()[0] for line in said["seedbed logs s3://runs digits"].splitlines()}
    assert speakers == {"digits-1-driver", "digits-1-worker-0", "digits-1-worker-1"}
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
    assert [event for event in events if event["reason"] == "Unhealthy"] == [], (
        "a healthy start has no Warning"
    )
    status, log = job.status(), f"logs/{kube.get(job.path)['metadata']['uid']}/1/digits-1-driver/"
    assert status["logURI"].endswith(log)
    assert status["workers"]["shown"] == f"0/{status['workers']['desired']}"


def test_what_the_readme_tells_to_type_finds_the_model_that_is_there(
    testbed: Testbed, jobs: Jobs, straight: Straight, tmp_path: Path
) -> None:
    """After the guide's, in another namespace: nothing is trained again."""
    job, terminal = newcomer(testbed, jobs, tmp_path)
    said = {line: terminal.types(line).stdout for line in commands("README.md", "console")}
    assert job.status()["model"]["weightsDigest"] == straight.weights
    assert jobs.namespace in said["seedbed top"]
    assert "digits-1-driver" in said["seedbed logs s3://runs digits"]


def newcomer(testbed: Testbed, jobs: Jobs, folder: Path) -> tuple[Job, Terminal]:
    """Return the job that the pages name, and the terminal of a user who has no Secrets yet."""
    for name in SECRETS:
        testbed.kube.delete(f"/api/v1/namespaces/{jobs.namespace}/secrets/{name}")  # the pages make them
    job = Job(testbed=testbed, namespace=jobs.namespace, name="digits", output="s3://runs")
    jobs.made.append(job)
    return job, terminal_on(testbed, folder / "user", namespace=jobs.namespace)


def check_it_is_listed_while_it_trains(job: Job) -> None:
    """Wait until it trains, and check what a list says of it then."""
    job.await_checkpoint(at=0)  # a group has told of itself
    with stopped_ranks(job):  # the operator looks every ten seconds, and a training may be shorter
        job.await_training()
        listed = columns(job.testbed.kube.kubectl("get", "trainingjobs", "-n", job.namespace))
    assert set(listed) == {"NAME", "STATUS", "PROGRESS", "WORKERS", "AGE"}
    assert listed["STATUS"] in ("Training", "Evaluating", "Checkpointing")


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
    pieces = sorted(logs.glob("*/1/digits-1-driver/*.log"))
    said = "".join(piece.read_text() for piece in pieces)
    records = [json.loads(line) for line in said.splitlines()]
    assert {(line["job"], line["namespace"], line["attempt"]) for line in records} == {
        ("digits", job.namespace, 1)
    }
    assert records[-1]["step"] == TOTAL_STEPS
    assert stored.objects.read("metrics.jsonl").count(b"training/loss") == TOTAL_STEPS


@pytest.mark.exhaustive
def test_helm_waits_for_the_training_to_begin_and_not_for_its_end(
    release: Release, jobs: Jobs, straight: Straight, tmp_path: Path
) -> None:
    job = jobs.a_job()
    chart = chart_of(example(job.name, job.output, every=2), tmp_path)
    with helm_released(release, chart, jobs.namespace):
        status = job.status()
        assert holds(status, "Running"), "helm --wait returned before the training began"
        assert not holds(status, "Complete"), "helm --wait waited for the end of the training"
        job.await_complete()
        check_same_model(job, straight)
        check_steps(job, every=2)


def chart_of(body: dict[str, Any], folder: Path) -> Path:
    """Write a user's chart that holds one TrainingJob."""
    chart = folder / "chart"
    (chart / "templates").mkdir(parents=True)
    (chart / "Chart.yaml").write_text("apiVersion: v2\nname: team\nversion: 0.1.0\n")
    (chart / "templates/job.yaml").write_text(json.dumps(body))
    return chart


class helm_released:  # noqa: N801 - reads as a verb in `with`
    """A release of a user's chart, installed with --wait, uninstalled at the end."""

    def __init__(self, release: Release, chart: Path, namespace: str) -> None:
        self.release, self.chart, self.where = release, chart, ("--namespace", namespace)

    def __enter__(self) -> None:
        self.release.run("install", "team", str(self.chart), "--wait", "--timeout", "600s", *self.where)

    def __exit__(self, *_: object) -> None:
        self.release.run("uninstall", "team", *self.where)


@pytest.mark.exhaustive
def test_a_suspended_job_holds_no_pod_and_goes_on_where_it_was(jobs: Jobs, straight: Straight) -> None:
    job = jobs.apply()
    kube = jobs.testbed.kube
    job.await_checkpoint(at=20)
    kube.patch(job.path, {"spec": {"suspend": True}})
    status = job.wait_for(lambda seen: holds(seen, "Suspended"), what="Suspended")
    assert job.pods() == [], "Suspended comes after the last pod"
    kept = status["checkpoint"]["step"]
    assert max(event["step"] for event in job.told()[-1]) <= kept == job.newest(), "a stop loses no step"
    assert 0 < kept < TOTAL_STEPS
    time.sleep(3)
    assert job.pods() == []

    kube.patch(job.path, {"spec": {"suspend": False}})
    status = job.await_complete()
    check_same_model(job, straight)
    assert check_steps(job) == [0, kept], "nothing was done twice"
    assert status["attempts"] == 2
    assert not {"failures", "infrastructureFailures", "preemptions"} & {k for k, v in status.items() if v}


def test_a_job_deleted_in_the_middle_leaves_nothing_but_its_run(jobs: Jobs) -> None:
    job = jobs.apply()
    kube = jobs.testbed.kube
    uid = kube.get(job.path)["metadata"]["uid"]
    everything = {"NetworkPolicy", "Pod", "Secret", "Service"}
    eventually(
        lambda: left_of(jobs, uid),
        lambda there: set(there) == everything,
        what="all that a job has, as the check sees it",
        seconds=300,
        every=0.5,
    )
    job.await_checkpoint(at=20)
    kube.kubectl("delete", "trainingjob", job.name, "-n", jobs.namespace, "--timeout=240s")
    eventually(
        lambda: left_of(jobs, uid), lambda left: not left, what="the end of it all", seconds=300, every=0.5
    )
    assert job.newest() >= max(event["step"] for event in job.told()[-1]), "the driver kept its last step"
