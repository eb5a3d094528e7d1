"""A SweepJob on real pods: its driver is killed, it is suspended and resumed; always the record of `seedbed run`."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.chart_release import Release
from e2e.jobs import Jobs, holds
from e2e.kubectl_output import columns, left_of
from e2e.stores import run_here
from e2e.sweeps import TRIALS, Sweep, a_sweep, runs_of
from seedbed.runs.attempt_claims import highest_attempt
from seedbed.runs.checkpoint_store import checkpoint_steps
from seedbed.runs.run_folder import RunFolder
from support.runs.job_builder import groups, steps_executed
from testbed.kube import Json
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Alone:
    """The sweep as one command on this machine, one trial after the other."""

    status: Json
    root: Path

    @property
    def steps(self) -> int:
        """The steps that it took."""
        return sum(map(steps_executed, runs_of(self.root)))


@pytest.fixture(scope="module")
def alone(release: Release, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory) -> Alone:
    """Run the sweep on this machine without a cluster, in a store of its own."""
    folder = tmp_path_factory.mktemp("sweep-alone")
    manifest = folder / "sweep.json"
    manifest.write_text(json.dumps(a_sweep("alone", "s3://runs/alone")))
    options = ["--output", str(folder / "runs"), "--set", "spec.parallelTrialCount=1", "-o", "json"]
    told = run_here(
        ["-m", "seedbed.cli", "run", "-f", str(manifest), *options], testbed.s3.outside.environment()
    )
    return Alone(status=json.loads(told), root=folder / "runs")


def test_a_sweep_whose_driver_is_killed_ends_with_the_ledger_of_one_command(jobs: Jobs, alone: Alone) -> None:
    kube = jobs.testbed.kube
    sweep = Sweep(testbed=jobs.testbed, namespace=jobs.namespace, name="search", output="s3://runs/search")
    jobs.made.append(sweep)
    kube.apply(a_sweep(sweep.name, sweep.output), namespace=jobs.namespace)

    sweep.await_trials(begun=TRIALS - 1)
    driver = sweep.pod("driver")
    sweep.node_of(driver).kill_container(jobs.namespace, driver["metadata"]["name"], "driver")

    status = sweep.await_complete()
    assert sweep.pods() == [], "Complete comes after the last pod"
    check_same_sweep(status, alone)
    assert (status["attempts"], status["failures"]) == (2, 1)
    assert status["lastFailure"]["exitCode"] == 137
    assert status["trials"]["finished"] == f"{TRIALS}/{TRIALS}"
    check_runs(sweep, alone)
    uid = kube.get(sweep.path)["metadata"]["uid"]
    until = time.monotonic() + 300
    while not set(left := left_of(jobs, uid)) <= {
        "Secret",
        "NetworkPolicy",
    }:  # the Service is collected after its driver
        assert time.monotonic() < until, left
        time.sleep(0.5)
    listed = columns(kube.kubectl("get", "sweepjobs", "-n", jobs.namespace))
    assert set(listed) == {"NAME", "STATUS", "TRIALS", "BEST", "WORKERS", "AGE"}
    assert (listed["TRIALS"], listed["BEST"]) == (f"{TRIALS}/{TRIALS}", status["bestTrial"]["objective"])
    wide = columns(kube.kubectl("get", "sweep", "-n", jobs.namespace, "-o", "wide"))
    assert (wide["STATUS"], wide["ATTEMPTS"], wide["DIGEST"]) == ("Trained", "2", status["ledger"]["digest"])


def check_same_sweep(status: Json, alone: Alone) -> None:
    """Check that sweep, ledger and winner are those of one command."""
    assert status["sweepID"] == alone.status["sweepID"]
    assert status["ledger"]["digest"] == alone.status["ledger"]["digest"]
    best, expected = status["bestTrial"], alone.status["bestTrial"]
    assert (best["index"], best["objective"]) == (expected["index"], expected["objective"])
    assert best["model"]["weightsDigest"] == expected["model"]["weightsDigest"]


def check_runs(sweep: Sweep, alone: Alone) -> None:
    """Check that the trials were trained here, on both worker pods, and nearly nothing twice."""
    runs = runs_of(sweep.root)
    assert {run.name for run in runs} >= {run.name for run in runs_of(alone.root)}
    assert any(highest_attempt(run) > 1 for run in runs)
    check_steps(sweep, alone)
    told = {path.parent.name for path in (sweep.root / "logs").glob("*/*/*/*.log")}
    assert told >= {"search-1-sweep-worker-0", "search-1-sweep-worker-1", "search-2-sweep-driver"}


def check_steps(sweep: Sweep, alone: Alone) -> None:
    """Check that the steps were made here."""
    assert sum(map(steps_made, runs_of(sweep.root))) >= alone.steps, "computed here, not found"


def steps_made(run: RunFolder) -> int:
    """Return the steps that were made of a run, those too that were kept by a group which did not live to tell of them.

    A driver looks some times a second: a fast group is many steps ahead of what it told.
    """
    made = reached = 0
    for group in groups(run):
        began, told = group[0]["resumedFrom"], max(event["step"] for event in group)
        made += max(began - reached, 0) + told - began
        reached = told
    return made + max(max(checkpoint_steps(run), default=0) - reached, 0)


@pytest.mark.exhaustive
def test_a_suspended_sweep_holds_no_pod_and_goes_on_where_it_was(jobs: Jobs, alone: Alone) -> None:
    kube = jobs.testbed.kube
    sweep = Sweep(testbed=jobs.testbed, namespace=jobs.namespace, name="paused", output="s3://runs/paused")
    jobs.made.append(sweep)
    kube.apply(a_sweep(sweep.name, sweep.output), namespace=jobs.namespace)
    sweep.await_trials(begun=TRIALS - 1)
    kube.patch(sweep.path, {"spec": {"suspend": True}})
    sweep.wait_for(lambda seen: holds(seen, "Suspended"), what="Suspended")
    assert sweep.pods() == []
    kube.patch(sweep.path, {"spec": {"suspend": False}})
    status = sweep.await_complete()
    check_same_sweep(status, alone)
    assert not status.get("failures")
    check_steps(sweep, alone)
