"""What the pages tell admins and whoever is on call is typed from the pages."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from e2e.chart_release import Release
from e2e.cluster_terminal import terminal_on
from e2e.jobs import Job, Jobs, example, holds
from support.docs.pages import commands, whole_commands_within_sentences
from support.docs.terminal import Terminal
from support.monitoring.prometheus_pod import of_the_release
from testbed.monitors import KINDS, definitions_file
from testbed.testbeds import Testbed

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
ON_CALL = (
    "docs/troubleshooting.md",
    "docs/reproducibility.md",
    *(f"docs/runbooks/{name}.md" for name in ("cache-thrash", "data-starvation")),
    *(f"docs/runbooks/{name}.md" for name in ("checkpoint-age", "job-stalled", "preemption-storm")),
    *(f"docs/runbooks/{name}.md" for name in ("operator-not-reconciling", "divergence")),
)
"""Until the last but one the job trains; the last but one suspends it, and the last one deletes it."""


def test_what_metrics_tells_an_admin_switches_everything_on(release: Release, testbed: Testbed) -> None:
    (line,) = commands("docs/metrics.md", "console")
    with prometheus_operators_kinds(testbed, release.terminal.folder):
        release.terminal.types(line)
        found = {kind: len(of_the_release(testbed.kube, kind)) for kind in KINDS}
        release.upgrade(release.values)
    assert found == {"PodMonitor": 2, "ServiceMonitor": 0, "PrometheusRule": 1}


@contextmanager
def prometheus_operators_kinds(testbed: Testbed, folder: Path) -> Iterator[None]:
    """Let the cluster serve the kinds of the Prometheus operator meanwhile."""
    file = definitions_file(folder)
    testbed.kube.define(file)
    try:
        yield
    finally:
        testbed.kube.kubectl("delete", "-f", str(file), "--ignore-not-found")


@pytest.mark.exhaustive  # four minutes: attempts are ended and begun again
def test_a_job_that_trains_is_written_at_most_every_ten_seconds_and_whoever_is_on_call_can_type_what_pages_tell(
    testbed: Testbed, jobs: Jobs, tmp_path: Path
) -> None:
    job = endless(jobs)
    await_attempt(job, 1)
    check_written_seldom(job)
    names = {"NAME": job.name, "POD": f"{job.name}-1-driver", "CONTAINER": "driver"}
    terminal = terminal_on(testbed, tmp_path / "on-call", namespace=jobs.namespace, knows=names)
    for line in kubectl_within_sentences("charts/seedbed/README.md"):
        type_until_answered(terminal, line)
    attempt, typed = 1, set[str]()
    for page in ON_CALL:
        if page != ON_CALL[-1]:
            await_attempt(job, attempt)
        typing = replace(terminal, knows={**terminal.knows, "ATTEMPT": str(attempt)})
        told = dict.fromkeys([*commands(page, "console"), *kubectl_within_sentences(page)])
        for line in [line for line in told if line not in typed]:
            typing.types(line)
            typed.add(line)
            attempt += line.startswith("kubectl delete pod")
        if page == ON_CALL[-2]:
            job.wait_for(lambda status: holds(status, "Suspended"), what="Suspended")
    assert attempt == 2, "pages end an attempt, all by one command"
    assert not testbed.kube.exists(job.path), "the last page deletes the job"


def endless(jobs: Jobs) -> Job:
    """Apply the example with far more epochs than anybody waits for."""
    job = jobs.a_job()
    body = example(job.name, job.output, workers=(1, 1), every=20)
    body["spec"]["training"]["epochs"] = 2000
    jobs.testbed.kube.apply(body, namespace=jobs.namespace)
    return job


def check_written_seldom(job: Job) -> None:
    """Look at a job that only makes steps for a while: one status write in ten seconds, and one more at either end."""
    began, versions, steps = time.monotonic(), set[str](), set[int]()
    while (elapsed := time.monotonic() - began) < 35:
        seen = job.testbed.kube.get(job.path)
        versions.add(seen["metadata"]["resourceVersion"])
        steps.add(seen["status"]["progress"]["step"])
        time.sleep(0.1)
    assert len(steps) > 2, "it made steps, and told of them"
    assert len(versions) - 1 <= elapsed / 10 + 2, f"{len(versions) - 1} writes in {elapsed:.0f} s"


def await_attempt(job: Job, attempt: int) -> None:
    """Wait until an attempt trains."""

    def trains(status: dict[str, object]) -> bool:
        return holds(status, "Running") and status["attempts"] == attempt

    job.wait_for(trains, what=f"attempt {attempt} trains")


def type_until_answered(terminal: Terminal, line: str) -> None:
    """Type a line again while the API server of a busy machine says that it ran out of time."""
    for _ in range(5):
        try:
            terminal.types(line)
        except AssertionError as failed:
            if "request did not complete within requested timeout" not in str(failed):
                raise
        else:
            return
    terminal.types(line)


def kubectl_within_sentences(page: str) -> list[str]:
    return [line for line in whole_commands_within_sentences(page) if line.startswith("kubectl ")]
