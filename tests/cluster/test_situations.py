"""The table "Why is my job not running?" on a real API server and scheduler, with the operator as users run it.

The reason stands where people look: in `kubectl get`, in `kubectl describe` with its message, and in what dashboards read.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.operators import running_operator
from seedbed_api.metric_names import JOB_INFO
from support.eventually import eventually
from support.situations.cluster_setup import (
    PATIENCE_SECONDS,
    UNSEEN,
    Ground,
    common_nodes,
    conditions,
    said,
    slug,
)
from support.situations.control_plane_cases import SITUATIONS, Situation
from support.situations.status_history import (
    JOBS,
    Chronicle,
    announced,
    check,
    check_not_flooded,
    chronicle,
)
from testbed.boxes import Box
from testbed.kube import Kube
from testbed.testbeds import Testbed

pytestmark = pytest.mark.cluster
MENDED = {name: situation for name, situation in SITUATIONS.items() if situation.heals is not None}
ELSEWHERE = "another controller has it"
PORT = 8080
"""Of the operator, in the testbed's own network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Made:
    """All situations, and what the jobs have said since."""

    grounds: dict[str, Ground]
    chronicle: Chronicle


@pytest.fixture(scope="module")
def made(control_plane_testbed: Testbed) -> Iterator[Made]:
    """Start the operator, set everything up, and create the jobs, all at once."""
    kube, nodes = control_plane_testbed.kube, control_plane_testbed.fake_nodes
    control = control_plane_testbed.control
    names = (*SITUATIONS, ELSEWHERE)
    grounds = {name: Ground(kube=kube, fake_nodes=nodes, name=slug(name)) for name in names}
    try:
        with (
            common_nodes(nodes),
            running_operator(control, f"--health-port={PORT}"),
            chronicle(control) as kept,
        ):
            set_up(grounds)
            yield Made(grounds=grounds, chronicle=kept)
    finally:
        for ground in grounds.values():
            ground.clean_up()


def set_up(grounds: dict[str, Ground]) -> None:
    """Make all situations, and create the jobs in them; that which is to wait longest comes first."""
    *names, longest = SITUATIONS
    for batch in ([longest], names):
        for name in batch:
            grounds[name].create_namespace()
        for name in batch:
            bring_about(grounds[name], SITUATIONS[name])
    grounds[ELSEWHERE].create_namespace()
    grounds[ELSEWHERE].create_job({"spec.managedBy": "example.org/controller"})


def bring_about(ground: Ground, situation: Situation) -> None:
    """Make a situation, and create the job in it."""
    ground.await_account()
    if situation.profile is not None:
        ground.create_profile(situation.profile)
    situation.before(ground)
    ground.create_job(situation.job)


@pytest.fixture(scope="module")
def mended(made: Made) -> Made:
    """Do what makes the jobs go on, everywhere at once."""
    for name, situation in MENDED.items():
        assert situation.heals is not None
        situation.heals(made.grounds[name])
    return made


@pytest.mark.parametrize("name", SITUATIONS)
def test_it_says_why(made: Made, name: str) -> None:
    message = check(made.chronicle, made.grounds[name], SITUATIONS[name], seconds=PATIENCE_SECONDS)
    assert set(announced(made.grounds[name])) <= {SITUATIONS[name].reason}
    print(f"\n{name}\n    {message}")


def test_kubectl_get_shows_the_reasons_as_status(made: Made) -> None:
    lasting, shown = meanwhile(made, lambda kube: kube.kubectl("get", "tjob", "-A", "--no-headers"))
    columns = {line.split()[0]: line.split()[2] for line in shown.splitlines()}
    assert {place: columns[place] for place in lasting} == {place: told[0] for place, told in lasting.items()}


def test_kubectl_describe_has_the_message(made: Made) -> None:
    lasting, shown = meanwhile(made, lambda kube: kube.kubectl("describe", "tjob", "-A"))
    each = re.split(r"^Name: .*\n", shown, flags=re.MULTILINE)[1:]
    described = {text.split()[1]: text for text in each}
    assert [place for place, (_, message) in lasting.items() if message not in described[place]] == []


def test_what_dashboards_read_has_the_reason(made: Made, control_plane_testbed: Testbed) -> None:
    lasting, page = meanwhile(made, lambda _: metrics_of_the_operator(control_plane_testbed.box))
    families = text_string_to_metric_families(page)
    samples = (sample for family in families for sample in family.samples if sample.name == JOB_INFO.name)
    told = {sample.labels["namespace"]: sample.labels["reason"] for sample in samples}
    assert {place: told[place] for place in lasting} == {place: said[0] for place, said in lasting.items()}


def meanwhile(made: Made, look: Callable[[Kube], str]) -> tuple[dict[str, tuple[str, str]], str]:
    """Return reason and message of the jobs that say the same before and after a look, by namespace, and the look."""
    kube = made.grounds[ELSEWHERE].kube
    before = reasons(kube)
    seen = look(kube)
    after = reasons(kube)
    lasting = {place: said for place, said in before.items() if after[place] == said}
    assert len(lasting) > len(SITUATIONS) - 4
    return lasting, seen


def reasons(kube: Kube) -> dict[str, tuple[str, str]]:
    """Return reason and message of Running of all jobs that have one, by namespace."""
    jobs = {job["metadata"]["namespace"]: conditions(job.get("status", {})) for job in kube.items(JOBS)}
    found = {place: each["Running"] for place, each in jobs.items() if "Running" in each}
    return {place: (running["reason"], running["message"]) for place, running in found.items()}


def metrics_of_the_operator(box: Box) -> str:
    """Return the page that Prometheus would read."""
    code = f"import urllib.request as r; print(r.urlopen('http://127.0.0.1:{PORT}/metrics').read().decode())"
    reading = subprocess.run(
        box.inside([sys.executable, "-c", code]), capture_output=True, text=True, check=True
    )
    return reading.stdout


def test_what_another_controller_has_is_left_alone(made: Made) -> None:
    ground = made.grounds[ELSEWHERE]
    assert said(ground.status()) == UNSEEN
    assert ground.pods() == []
    assert ground.events() == []


@pytest.mark.parametrize("name", MENDED)
def test_it_goes_on_when_that_is_mended(mended: Made, name: str) -> None:
    ground = mended.grounds[name]
    ground.awaits(reason=MENDED[name].then, seconds=PATIENCE_SECONDS)
    eventually(lambda: pods_run(ground), what="the pods of the newest attempt run")


def pods_run(ground: Ground) -> bool:
    """Tell whether the newest attempt has its pods: the driver runs as soon as its workers have nodes."""
    attempt = ground.status()["attempts"]
    running = {pod["metadata"]["name"] for pod in ground.pods() if pod["status"]["phase"] == "Running"}
    return {f"digits-{attempt}-driver", f"digits-{attempt}-worker-0"} <= running


@pytest.mark.parametrize("name", SITUATIONS)
def test_nothing_is_announced_again_and_again(mended: Made, name: str) -> None:
    check_not_flooded(mended.grounds[name])


def test_the_table_is_long_and_mostly_mended() -> None:
    assert len(SITUATIONS) >= 15
    assert len({situation.reason for situation in SITUATIONS.values()}) >= 15
    assert len(MENDED) * 2 >= len(SITUATIONS)
