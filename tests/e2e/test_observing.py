"""All of it in pods: the chart's operator, its monitors and policies, a Prometheus, trainings and a sweep.

Every query of every dashboard brings data but those of `ABSENT`; each alert fires in a situation that is made, and
resolves when that is mended as its runbook says. Alerts are `FACTOR` times as impatient as in the chart.
"""

from __future__ import annotations

import json
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboards.dashboard_files import DASHBOARDS
from dashboards.panel_builders import Dashboard
from e2e.chart_release import DEPLOYMENT, NAMESPACE, Release, a_profile
from e2e.failure_report import what_happened
from e2e.jobs import Job, Jobs, example, holds, stopped_ranks
from e2e.plain_pods import a_pod, run
from e2e.stores import give_secrets
from e2e.sweeps import Sweep, a_sweep
from seedbed_api import metric_names as names
from support.eventually import eventually
from support.monitoring.dashboard_pictures import picture
from support.monitoring.dashboard_queries import chosen, queries
from support.monitoring.prometheus_pod import (
    TEAM,
    PodPrometheus,
    asked_by_dashboards,
    hurried,
    of_the_release,
    remove,
    seldom_misses,
    start_prometheus,
    watched_values,
)
from testbed.kube import Json, Kube
from testbed.monitors import definitions_file
from testbed.nodes import Node
from testbed.prometheus import program
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.exhaustive, pytest.mark.timeout(1200)]
ABSENT = {
    "Seedbed / TrainingJob: GPU utilisation 0": "this machine has no GPU; tests/gpu shows it where there is one",
}
"""Queries that bring nothing here, and why."""
PATIENCE_SECONDS = 400.0


@dataclass(frozen=True, kw_only=True)
class Watched:
    """The testbed with the chart and a Prometheus beside it."""

    testbed: Testbed
    prometheus: PodPrometheus
    rules: Json
    """As the chart brings them."""

    @property
    def kube(self) -> Kube:
        return self.testbed.kube

    def await_firing(self, alert: str, who: str) -> None:
        """Wait until an alert fires for a job, or for the namespace."""
        self._await(alert, lambda jobs: who in jobs, f"{alert} fires for {who!r}")
        print(f"{time.strftime('%X')} {alert} fires: {who!r}")

    def await_silence(self, alert: str, who: str) -> None:
        """Wait until an alert does not fire any more."""
        self._await(alert, lambda jobs: who not in jobs, f"{alert} fires no more for {who!r}")
        print(f"{time.strftime('%X')} {alert} is silent: {who!r}")

    def _await(self, alert: str, accepts: Callable[[set[str]], bool], what: str) -> None:
        eventually(lambda: self.prometheus.firing(alert), accepts, what=what, seconds=PATIENCE_SECONDS)


@pytest.fixture(scope="module")
def watched(
    release: Release, testbed: Testbed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """Switch everything on that the chart has for observing, and run a Prometheus that does what its monitors say."""
    program("prometheus")
    kube = testbed.kube
    kube.define(definitions_file(tmp_path_factory.mktemp("watched")))
    kube.create("/api/v1/namespaces", {"metadata": {"name": TEAM}})
    kube.wait_for(f"/api/v1/namespaces/{TEAM}/serviceaccounts/default", lambda _: True)
    give_secrets(testbed, TEAM)
    before = release.values
    release.upgrade(watched_values(before, **profiles(testbed)))
    monitors = [*of_the_release(kube, "PodMonitor"), *of_the_release(kube, "ServiceMonitor")]
    (rules,) = of_the_release(kube, "PrometheusRule")
    with testbed.network_policies():
        prometheus = start_prometheus(testbed, monitors, hurried(rules["spec"]))
        yield Watched(testbed=testbed, prometheus=prometheus, rules=rules["spec"])
    release.upgrade(before)
    remove(kube)
    kube.delete(f"/api/v1/namespaces/{TEAM}")


def profiles(testbed: Testbed) -> dict[str, Json]:
    """Return profiles beside `default`: a cache that is too small, and workers with GPUs whose driver finds no node."""
    image, endpoint = testbed.load(testbed.workload), testbed.s3.inside.endpoint
    gpus = a_profile(image, endpoint)
    gpus["driver"]["nodeSelector"] = {"e2e/of-no-node": "here"}
    gpus["worker"]["gpu"] = {"count": 1}
    return {"cramped": a_profile(image, endpoint, cache={"sizeLimit": "64Ki"}), "gpus": gpus}


@pytest.fixture
def team(watched: Watched, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Return the jobs of the team that is observed, gone after the test; when it fails, what is known is printed."""
    found, failed = Jobs(testbed=watched.testbed, namespace=TEAM), request.session.testsfailed
    yield found
    if request.session.testsfailed > failed:
        print(what_happened(watched.testbed, TEAM))
    found.delete_all()


def train(team: Jobs, name: str, *, epochs: int = 16, profile: str = "default", **execution: object) -> Job:
    """Apply a variant of the example with one worker."""
    job = Job(testbed=team.testbed, namespace=TEAM, name=name, output=f"s3://runs/observed-{name}")
    cluster = {"profile": profile, "feed": execution.pop("feed", "RayData")}
    wild = execution.pop("wild", False)
    body = example(name, job.output, workers=(1, 1), cluster=cluster, **execution)
    training = body["spec"]["training"]
    training["epochs"] = epochs
    if wild:
        training["optimizer"] = {"type": "SGD", "learningRate": "1000", "weightDecay": "1000"}
    team.made.append(job)
    team.testbed.kube.apply(body, namespace=TEAM)
    return job


def search(team: Jobs, name: str) -> Sweep:
    """Apply the example's sweep, one trial at a time."""
    sweep = Sweep(testbed=team.testbed, namespace=TEAM, name=name, output=f"s3://runs/observed-{name}")
    body = a_sweep(name, sweep.output)
    body["spec"] |= {"parallelTrialCount": 1, "cluster": {"workers": {"min": 1, "max": 1}}}
    team.made.append(sweep)
    team.testbed.kube.apply(body, namespace=TEAM)
    return sweep


# -- dashboards ----------------------------------------------------------------------------------------------


def test_every_query_of_the_dashboards_brings_data(watched: Watched, team: Jobs, second_node: Node) -> None:
    """One after the other, for a machine with two cores: what is gone has told what it has to tell."""
    prometheus, asked = watched.prometheus, queries()
    assert asked_by_dashboards(watched.kube) == expressions(), (
        "Grafana's sidecar finds all of them as they are"
    )
    missing, answered = set(asked), set[str]()

    def is_read(job: Job) -> None:
        job.await_training()
        eventually(
            lambda: answers(prometheus, job, answered),
            what=f"answers of {job.name}",
            seconds=PATIENCE_SECONDS,
        )

    second_node.set_gpus(1)
    greedy, first = train(team, "greedy", profile="gpus"), train(team, "first", epochs=6, every=20)
    is_read(first)
    missing = silent(prometheus, asked, missing, until_nothing_of="GPUs")
    watched.kube.delete(greedy.path)
    first.await_complete()
    second = train(team, "second", epochs=2000, feed="Local", every=20)
    is_read(second)
    missing = silent(prometheus, asked, missing, until_nothing_of="TrainingJob", but=set(ABSENT))
    check_labels(prometheus, names.STEP, "second-1-driver")
    check_that_policies_hold(watched, second)
    draw(prometheus, *(page for page in DASHBOARDS if "Sweep" not in page.title))
    watched.kube.delete(second.path)
    is_read(search(team, "sweep"))
    missing = silent(prometheus, asked, missing, until_nothing_of="", but=set(ABSENT))
    check_labels(prometheus, names.TRIALS_PLANNED, "sweep-1-sweep-driver")
    draw(prometheus, *(page for page in DASHBOARDS if "Sweep" in page.title))
    print(f"{len(asked) - len(missing)} of {len(asked)} queries bring data in pods; not: {sorted(missing)}")
    assert missing == set(ABSENT)
    assert answered == TARGETS


def answers(prometheus: PodPrometheus, job: Job, answered: set[str]) -> bool:
    """Note which targets answer; tell whether the driver of a job does."""
    found = {name for name, each in prometheus.targets() if each["health"] == "up"}
    answered.update(re.sub(r"operator-[a-z0-9]+-[a-z0-9]+$", "operator-…", name) for name in found)
    return any(f"drivers {job.name}-1-" in name for name in found)


def silent(
    prometheus: PodPrometheus,
    asked: dict[str, str],
    titles: set[str],
    *,
    until_nothing_of: str,
    but: Set[str] = frozenset(),
) -> set[str]:
    """Return which of these queries have brought no number so far, once none of what is awaited is among them."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        titles = {title for title in titles if not prometheus.tells(asked[title])}
        if not [title for title in titles - but if until_nothing_of in title]:
            break
        time.sleep(1)
    return titles


def expressions() -> set[str]:
    """Return the queries of all dashboards with their variables."""
    return {query.expr for page in DASHBOARDS for panel in page.panels for query in panel.queries}


TARGETS = {
    f"{NAMESPACE}/seedbed-drivers first-1-driver",
    f"{NAMESPACE}/seedbed-drivers second-1-driver",
    f"{NAMESPACE}/seedbed-drivers sweep-1-sweep-driver",
    f"{NAMESPACE}/seedbed-operator seedbed-operator-…",
    "seedbed-operator seedbed-operator-…",
}
"""The monitor, as the label `job` tells it, and the pod; the operator by PodMonitor and by ServiceMonitor."""


def check_labels(prometheus: PodPrometheus, family: names.Family, pod: str) -> None:
    """Check that a series about a job has the namespace and the name of its pod, whoever tells it."""
    job = pod.partition("-")[0]
    (labels,) = [each["metric"] for each in prometheus.query(family.name) if each["metric"]["pod"] == pod]
    assert (labels["namespace"], labels["name"]) == (TEAM, job)
    assert not [name for name in labels if name.startswith("exported_")]
    (labels,) = [each["metric"] for each in prometheus.query(f'{names.JOB_ATTEMPTS.name}{{name="{job}"}}')]
    assert labels["namespace"] == TEAM, "what the operator says of a job is about the job's namespace"


def draw(prometheus: PodPrometheus, *pages: Dashboard) -> None:
    """Leave pictures of dashboards for a person to look at, where SEEDBED_PICTURES names a folder."""
    folder = os.environ.get("SEEDBED_PICTURES")
    for page in pages if folder else ():
        Path(str(folder)).mkdir(parents=True, exist_ok=True)
        picture(page, prometheus, Path(str(folder), f"{page.uid}.png"), chosen)


def check_that_policies_hold(watched: Watched, job: Job) -> None:
    """Check that nobody but Prometheus and the operator reads what operator and drivers tell."""
    label = "app.kubernetes.io/component=operator"
    operators = watched.kube.items(f"/api/v1/namespaces/{NAMESPACE}/pods", labelSelector=label)
    pods = [(operators[0], 8080), (job.pod("driver"), 8701)]
    places = [f"{pod['status']['podIP']}:{port}" for pod, port in pods]
    for number, place in enumerate(places):
        ask = (
            "import urllib.request as u\n"
            f"try: print(u.urlopen('http://{place}/metrics', timeout=5).status)\n"
            "except OSError as error: print('blocked', error)"
        )
        told = run(watched.testbed, "default", a_pod(f"stranger-{number}", ask))
        assert told.startswith("blocked"), f"{place} answers a stranger"


# -- alerts --------------------------------------------------------------------------------------------------


def test_alerts_are_hurried_and_nothing_else(watched: Watched) -> None:
    def without_durations(rules: Json) -> str:
        return re.sub(r"\d+[smh]\b|\b(3600|120)\b", "TIME", json.dumps(rules["groups"]))

    assert without_durations(hurried(watched.rules)) == without_durations(watched.rules)


def test_the_operator_is_gone(watched: Watched) -> None:
    alert, scale = "SeedbedOperatorNotReconciling", f"{DEPLOYMENT}/scale"
    watched.await_silence(alert, "")
    watched.kube.patch(scale, {"spec": {"replicas": 0}})
    watched.await_firing(alert, "")
    watched.kube.patch(scale, {"spec": {"replicas": 1}})
    watched.await_silence(alert, "")


def test_a_loss_that_is_no_number(watched: Watched, team: Jobs) -> None:
    job = train(team, "wild", wild=True)
    watched.await_firing("SeedbedDivergence", "wild")
    eventually(
        lambda: job.condition("Failed"),
        lambda found: found == "True:NonFiniteLoss",
        what="the condition Failed",
        seconds=PATIENCE_SECONDS,
    )
    watched.kube.delete(job.path)
    watched.await_silence("SeedbedDivergence", "wild")


def test_a_small_cache_a_slow_store_ranks_that_stand_still_and_nothing_kept(
    watched: Watched, team: Jobs
) -> None:
    """One job that suffers all of it, until what its runbooks say is done."""
    hasty = {"every": 1_000_000, "progressDeadlineSeconds": 100}  # half of it is told of, and is not hurried
    job = train(team, "poor", epochs=20000, profile="cramped", feed="Local", **hasty)
    job.await_training()
    watched.await_firing("SeedbedCacheThrash", "poor")
    with a_slow_store(watched.testbed):
        watched.await_firing("SeedbedDataStarvation", "poor")
    with stopped_ranks(job):
        watched.await_firing("SeedbedJobStalled", "poor")
    watched.await_silence("SeedbedJobStalled", "poor")
    watched.await_firing("SeedbedCheckpointAge", "poor")
    mend(watched, job)
    job.wait_for(lambda status: status["attempts"] == 2 and holds(status, "Running"), what="Running again")
    watched.prometheus.wait_for(seldom_misses("poor", "poor-2-driver"), seconds=PATIENCE_SECONDS)
    for alert in ("SeedbedCheckpointAge", "SeedbedCacheThrash", "SeedbedDataStarvation", "SeedbedJobStalled"):
        watched.await_silence(alert, "poor")
    assert holds(job.status(), "Running"), "it is the mending that silenced them, not an end"


@contextmanager
def a_slow_store(testbed: Testbed) -> Iterator[None]:
    """Let the store answer in a tenth of the time only."""
    over = threading.Event()

    def alternate() -> None:
        while not over.is_set():
            testbed.s3.pause()
            over.wait(4.5)
            testbed.s3.resume()
            over.wait(0.5)

    thread = threading.Thread(target=alternate, name="slow store")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        testbed.s3.resume()


def mend(watched: Watched, job: Job) -> None:
    """Do what the runbooks of cache thrash and checkpoint age say."""
    kube, names_it = watched.kube, (job.name, "-n", TEAM)
    kube.patch(
        "/apis/seedbed.dev/v1alpha1/trainingprofiles/cramped", {"spec": {"cache": {"sizeLimit": "1Gi"}}}
    )
    patch = json.dumps({"spec": {"checkpoint": {"everySteps": 20}}})
    kube.kubectl("patch", "tjob", *names_it, "--type=merge", "-p", patch)
    kube.kubectl("delete", "pod", f"{job.name}-1-driver", "-n", TEAM, seconds=240)


def test_jobs_that_are_preempted_again_and_again(watched: Watched, team: Jobs) -> None:
    alert, evicted = "SeedbedPreemptionStorm", set[str]()
    jobs = [train(team, name) for name in ("third", "fourth")]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(evicted) < 6 or TEAM not in watched.prometheus.firing(alert):
        assert time.monotonic() < deadline, f"{alert} does not fire after {sorted(evicted)}"
        for job in jobs:
            evicted |= set(evict(job))
        time.sleep(0.5)
    print(f"{time.strftime('%X')} {alert} fires after {sorted(evicted)}")
    for job in jobs:
        watched.kube.patch(job.path, {"spec": {"suspend": True}})
    watched.await_silence(alert, TEAM)


def evict(job: Job) -> Iterator[str]:
    """Evict the driver where it runs, in a second; yield its name."""
    for pod in job.pods("driver"):
        metadata = pod["metadata"]
        if pod["status"]["phase"] == "Running" and "deletionTimestamp" not in metadata:
            body = {"metadata": {"name": metadata["name"]}, "deleteOptions": {"gracePeriodSeconds": 1}}
            path = f"/api/v1/namespaces/{TEAM}/pods/{metadata['name']}/eviction"
            job.testbed.kube.create(path, {"apiVersion": "policy/v1", "kind": "Eviction", **body})
            yield metadata["name"]
