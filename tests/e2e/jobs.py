"""TrainingJobs of the e2e tier: variants of the example's execution, one recipe, and what a run must show."""

from __future__ import annotations

import itertools
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import yaml

from e2e.stores import EXAMPLE
from seedbed.receipts import read_receipt
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import open_storage
from support.eventually import eventually
from support.runs.job_builder import groups
from testbed.kube import Json
from testbed.nodes import Node
from testbed.testbeds import Testbed

TOTAL_STEPS = 362
EVERY = 10
PATIENCE_SECONDS = 600.0
"""For a busy machine; on a quiet one Ray is up after 15 s."""
_NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Straight:
    """The run that every other one is compared with."""

    status: Json
    folder: RunFolder

    @property
    def weights(self) -> str:
        """Its weights digest."""
        return str(self.status["model"]["weightsDigest"])


def example(name: str, output: str, **execution: Any) -> Json:
    """Return the example's manifest with another execution: the recipe stays."""
    body: Json = yaml.safe_load(EXAMPLE.read_text())
    body["metadata"] = {"name": name}
    spec = body["spec"]
    spec["output"]["uri"] = output
    spec["checkpoint"] = {"everySteps": execution.pop("every", EVERY)}
    least, most = execution.pop("workers", (2, 2))
    spec["cluster"] |= {"workers": {"min": least, "max": most}, **execution.pop("cluster", {})}
    return {**body, "spec": {**spec, **execution}}


@dataclass(frozen=True, kw_only=True, slots=True)
class Jobs:
    """The jobs of one namespace, each with a store of its own."""

    testbed: Testbed
    namespace: str
    made: list[Job] = field(default_factory=list)

    def apply(self, **execution: Any) -> Job:
        """Apply a variant of the example and return it."""
        job = self.a_job()
        self.testbed.kube.apply(example(job.name, job.output, **execution), namespace=self.namespace)
        return job

    def a_job(self) -> Job:
        """Return a job that somebody else will create."""
        name = f"digits-{next(_NUMBERS)}"
        job = Job(testbed=self.testbed, namespace=self.namespace, name=name, output=f"s3://runs/{name}")
        self.made.append(job)
        return job

    def delete_all(self) -> None:
        """Delete what is there, and wait until its pods are gone: the next test needs the processors."""
        for job in self.made:
            if self.testbed.kube.exists(job.path):
                self.testbed.kube.delete(job.path)
            job.await_no_pods()


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    """A job on the cluster, and its run in the store."""

    testbed: Testbed
    namespace: str
    name: str
    output: str

    @property
    def path(self) -> str:
        """Its path in the API."""
        return f"/apis/seedbed.dev/v1alpha1/namespaces/{self.namespace}/trainingjobs/{self.name}"

    def status(self) -> Json:
        """Return its status."""
        return dict(self.testbed.kube.get(self.path).get("status", {}))

    def condition(self, kind: str) -> str | None:
        """Return `True:Reason` or `False:Reason` of a condition, None where it is not there."""
        return condition(self.status(), kind)

    def wait_for(
        self, accepted: Callable[[Json], bool], *, what: str, seconds: float = PATIENCE_SECONDS
    ) -> Json:
        """Return the status once it is accepted; a job that has failed is not waited for."""

        def looked(seen: Json) -> bool:
            status = seen.get("status", {})
            assert not holds(status, "Failed"), yaml.safe_dump(status)
            return accepted(status)

        seen = self.testbed.kube.wait_for(self.path, looked, seconds=seconds, what=what)
        return dict(seen["status"])

    def await_complete(self) -> Json:
        """Return the status of the complete job."""
        return self.wait_for(lambda status: holds(status, "Complete"), what="Complete")

    def await_training(self) -> Json:
        """Return the status once it trains."""
        return self.wait_for(lambda status: holds(status, "Running"), what="Running")

    def pods(self, role: str | None = None) -> list[Json]:
        """Return its pods."""
        selector = f"seedbed.dev/job={self.name}" + (f",seedbed.dev/role={role}" if role else "")
        return self.testbed.kube.items(f"/api/v1/namespaces/{self.namespace}/pods", labelSelector=selector)

    def pod(self, role: str) -> Json:
        """Return its newest running pod of a role, the victim of a kill: it lives."""
        running = [pod for pod in self.pods(role) if pod["status"]["phase"] == "Running"]
        assert running, f"no {role} pod runs"
        return max(running, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def node_of(self, pod: Json) -> Node:
        """Return the node that a pod runs on."""
        return self.testbed.node(pod["spec"]["nodeName"])

    def await_no_pods(self, seconds: float = 240) -> None:
        """Wait until its last pod is gone."""
        eventually(
            lambda: [pod["metadata"]["name"] for pod in self.pods()],
            lambda left: not left,
            what=f"the end of the pods of {self.name}",
            seconds=seconds,
            every=0.2,
        )

    @property
    def folder(self) -> RunFolder | None:
        """The run folder once it is there, read behind the S3 server's back, which may be down."""
        root = self.testbed.s3.outside.root / self.output.removeprefix("s3://")
        found = list((root / "runs").glob("*"))
        assert len(found) <= 1, "one recipe, one run"
        return open_run(open_storage(str(root)), f"sha256:{found[0].name}") if found else None

    def newest(self) -> int:
        """Return the newest checkpoint's step, 0 without one."""
        folder = self.folder
        return max(checkpoint_steps(folder), default=0) if folder else 0

    def await_checkpoint(self, *, at: int, groups: int = 1) -> int:
        """Wait for a checkpoint of a step or a later one by a group that has told of itself; return its step."""
        step, _ = eventually(
            lambda: (self.newest(), len(self.told())),
            lambda seen: seen[0] >= at and seen[1] >= groups,
            what=f"a checkpoint at step {at} or later by group {groups} (step, groups)",
            seconds=PATIENCE_SECONDS,
            every=0.02,
        )
        assert step < TOTAL_STEPS, "the training ended before it could be disturbed"
        return step

    def stop_ranks(self) -> list[int]:
        """Let the ranks of all worker pods stand still, as where a GPU hangs; Ray around them lives."""
        ranks = [
            process
            for pod in self.pods("worker")
            if pod["status"]["phase"] == "Running"
            for process, line in self._processes(pod).items()
            if line.startswith("ray::")
        ]
        assert ranks, "no rank to stop"
        for process in ranks:
            os.kill(process, signal.SIGSTOP)
        return ranks

    def _processes(self, pod: Json) -> Mapping[int, str]:
        return self.node_of(pod).processes(self.namespace, pod["metadata"]["name"], "worker")

    def told(self) -> list[list[Json]]:
        """Return what each group of workers told of its steps."""
        folder = self.folder
        return groups(folder) if folder else []


@contextmanager
def stopped_ranks(job: Job) -> Iterator[None]:
    """Let the ranks of a job stand still meanwhile."""
    ranks = job.stop_ranks()
    try:
        yield
    finally:
        for process in ranks:
            os.kill(process, signal.SIGCONT)


def condition(status: Json, kind: str) -> str | None:
    """Return `True:Reason` or `False:Reason` of a condition."""
    found = (each for each in status.get("conditions", []) if each["type"] == kind)
    return next((f"{each['status']}:{each['reason']}" for each in found), None)


def holds(status: Json, kind: str) -> bool:
    """Say whether a condition is True."""
    return (condition(status, kind) or "").startswith("True:")


def check_same_model(job: Job, straight: Straight) -> None:
    """Check that a complete job computed its run itself, and that run, ledger and weights are those of `straight`."""
    status, folder = job.status(), job.folder
    assert condition(status, "Complete") == "True:Trained", "found, not computed"
    assert folder is not None
    assert status["runID"] == straight.status["runID"]
    assert status["environment"]["class"] == straight.status["environment"]["class"]
    assert status["model"]["weightsDigest"] == straight.weights
    receipts = [read_receipt(run.objects).deterministic_digest for run in (folder, straight.folder)]
    assert receipts[0] == receipts[1], "every row of every step went in, once"


def check_steps(job: Job, *, every: int = EVERY) -> list[int]:
    """Check that all steps were computed here, that no group lost more than `every`; return where groups began."""
    told = job.told()
    began = [group[0]["resumedFrom"] for group in told]
    reached = 0
    for group in told:
        assert reached - group[0]["resumedFrom"] <= every, "more was done twice than lies between checkpoints"
        reached = max(event["step"] for event in group)
    assert reached == TOTAL_STEPS
    assert began[0] == 0
    return began
