"""What Prometheus reads of jobs: one series per state, a few per job, and none of a job that is gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import exposition_page, exposition_text
from seedbed_api.sweepjob_status import SweepJobStatus, TrialCounts
from seedbed_api.timestamps import format_time
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.informer_cache.object_views import job_record, job_view
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey
from seedbed_operator.metrics.job_metrics import RETENTION_SECONDS, JobMetrics
from seedbed_operator.metrics.job_samples import completed_share
from seedbed_operator.observe.transient_state import TransientStates
from support.operator.builders import IMAGE, NOON, a_checkpoint, a_recipe, after, live, progress
from unit.operator.metrics.metric_registry import read_by

SERIES = {"namespace": "team", "kind": "TrainingJob"}


def a_job(name: str, version: int = 1, workers: int = 2, **status: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "team", "uid": f"uid-{name}", "resourceVersion": str(version)}
    spec = {**a_recipe(), "cluster": {"profile": "gpu", "workers": {"min": 1, "max": workers}}}
    return {"metadata": {**metadata, "creationTimestamp": format_time(NOON)}, "spec": spec, "status": status}


def told(kind: str, status: str, reason: str, at: float = 0) -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": format_time(after(at))}


def a_worker(job: str, index: int, **spec: Any) -> dict[str, Any]:
    labels = {"seedbed.dev/job": job, "seedbed.dev/job-uid": f"uid-{job}"}
    labels |= {"seedbed.dev/role": "worker", "seedbed.dev/attempt": "1"}
    name = f"{job}-1-worker-{index}"
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": "1", "labels": labels}
    return {"metadata": {**metadata, "creationTimestamp": format_time(NOON)}, "spec": spec, "status": {}}


def filled() -> InformerCache:
    """Return cache with a job that trains on one of its two pods, one that waits, one that was done long ago."""
    cache = InformerCache()
    profile = {"image": IMAGE, "worker": {"gpu": {"count": 2}}}
    cache.put(PROFILES, {"metadata": {"name": "gpu", "uid": "p", "resourceVersion": "1"}, "spec": profile})
    trains = {
        "conditions": [told("Running", "True", "Training")],
        "progress": progress(25).plain(),
        "checkpoint": a_checkpoint(20, after(60)).plain(),
        "attempts": 1,
    }
    cache.put(JOBS, a_job("trains", **trains))
    cache.put(JOBS, a_job("waits", workers=3, conditions=[told("Running", "False", "Unschedulable")]))
    done = [told("Complete", "True", "Trained"), told("Running", "False", "Trained")]
    cache.put(JOBS, a_job("done", conditions=done, completionTime=format_time(NOON)))
    cache.put(PODS, a_worker("trains", 0, nodeName="node-a"))
    cache.put(PODS, a_worker("trains", 1))
    return cache


def page_of(cache: InformerCache, seconds: float = 120) -> CollectorRegistry:
    return read_by(JobMetrics(cache, TransientStates(), after(seconds).timestamp).collect)


def test_each_job_is_counted_once_by_state_and_reason() -> None:
    registry = page_of(filled())
    states = [("Running", "Training"), ("Waiting", "Unschedulable"), ("Complete", "Trained")]
    for condition, reason in states:
        labels = SERIES | {"condition": condition, "reason": reason}
        assert registry.get_sample_value(names.JOBS.name, labels) == 1


def test_a_job_has_its_numbers_and_what_it_has_not_is_absent() -> None:
    registry = page_of(filled())
    trains, waits = SERIES | {"name": "trains"}, SERIES | {"name": "waits"}
    assert registry.get_sample_value(names.JOB_PROGRESS.name, trains) == 0.25
    assert registry.get_sample_value(names.JOB_CHECKPOINT.name, trains) == after(60).timestamp()
    assert registry.get_sample_value(names.JOB_PROGRESS.name, waits) is None
    info = trains | {"profile": "gpu", "condition": "Running", "reason": "Training"}
    assert registry.get_sample_value(names.JOB_INFO.name, info) == 1


TRAINS, WAITS = told("Running", "True", "Training", at=7200), told("Running", "False", "Queued", at=7200)
KEPT = {"checkpoint": a_checkpoint(20, after(60)).plain()}


@pytest.mark.parametrize(
    ("status", "since"),
    [
        pytest.param({"conditions": [WAITS]}, None, id="held by a queue for two hours"),
        pytest.param({"conditions": [TRAINS]}, 7200, id="it has just left the queue"),
        pytest.param({"conditions": [TRAINS], **KEPT}, 7200, id="it goes on from an old checkpoint"),
        pytest.param({"conditions": [WAITS], **KEPT}, 60, id="it waits, with a checkpoint"),
    ],
)
def test_what_a_kill_would_cost_counts_from_the_first_step(
    status: dict[str, Any], since: float | None
) -> None:
    cache = InformerCache()
    cache.put(JOBS, a_job("seedlings", attemptStartTime=format_time(NOON), **status))
    told = page_of(cache).get_sample_value(names.JOB_CHECKPOINT.name, SERIES | {"name": "seedlings"})
    assert told == (None if since is None else after(since).timestamp())


@pytest.mark.parametrize(("running", "estimated"), [(TRAINS, after(90).timestamp()), (WAITS, None)])
def test_when_it_will_be_over_is_told_while_it_trains(
    running: dict[str, Any], estimated: float | None
) -> None:
    cache, left = InformerCache(), {"estimatedCompletionTime": format_time(after(90))}
    cache.put(JOBS, a_job("seedlings", conditions=[running], progress=progress(25).plain() | left))
    told = page_of(cache).get_sample_value(names.JOB_ESTIMATED_END.name, SERIES | {"name": "seedlings"})
    assert told == estimated


@pytest.mark.parametrize(
    ("finished", "share"),
    [("3/12", 0.25), ("0/12", 0.0), ("12/12", 1.0), (None, None), ("all of them", None), ("1/0", None)],
)
def test_a_sweep_is_done_as_far_as_its_trials_are(finished: str | None, share: float | None) -> None:
    assert completed_share(SweepJobStatus(trials=TrialCounts(finished=finished))) == share


def test_gpus_are_requested_by_unfinished_jobs_and_held_by_pods_with_a_node() -> None:
    registry = page_of(filled())
    labels = SERIES | {"profile": "gpu"}
    assert registry.get_sample_value(names.GPUS_REQUESTED.name, labels) == 2 * (2 + 3)
    assert registry.get_sample_value(names.GPUS_HELD.name, labels) == 2


def test_a_job_has_no_series_of_its_own_long_after_its_end_and_none_at_all_when_it_is_gone() -> None:
    cache = filled()
    assert b'name="done"' in exposition_text(page_of(cache))
    assert b'name="done"' not in exposition_text(page_of(cache, RETENTION_SECONDS + 1))
    registry = page_of(cache)
    assert b'name="waits"' in exposition_text(registry)
    cache.drop(JOBS, ("team", "waits"), "uid-waits")
    assert b'name="waits"' not in exposition_text(registry)


def test_a_change_is_seen_at_the_next_scrape() -> None:
    cache = filled()
    registry = page_of(cache)
    exposition_text(registry)
    cache.put(JOBS, a_job("trains", 2, progress=progress(50).plain()))
    assert registry.get_sample_value(names.JOB_PROGRESS.name, SERIES | {"name": "trains"}) == 0.5


@pytest.mark.parametrize("condition", [TRAINS, WAITS], ids=["it trains", "it waits"])
def test_when_a_driver_last_got_on_is_told_while_the_job_trains(condition: dict[str, Any]) -> None:
    cache, states, labels = InformerCache(), TransientStates(), SERIES | {"name": "seedlings"}
    cache.put(JOBS, a_job("seedlings", conditions=[condition]))
    memory = states.of(JobKey("team", "seedlings"), "uid-seedlings")
    for second, word in ((0, live(1)), (10, live(2)), (20, live(2)), (30, None)):
        memory.record_response("driver", word, after(second))
    registry = read_by(JobMetrics(cache, states, after(40).timestamp).collect)
    told = registry.get_sample_value(names.JOB_ADVANCE.name, labels)
    assert told == (after(10).timestamp() if condition is TRAINS else None)
    assert registry.get_sample_value(names.JOB_PROGRESS_DEADLINE.name, labels) == 600


@pytest.mark.parametrize(
    ("reason", "told"), [("ProgressDeadlineExceeded", "ProgressDeadlineExceeded"), ("MyOwnWord", "Other")]
)
def test_why_an_attempt_failed_is_told_in_bounded_words(reason: str, told: str) -> None:
    cache = InformerCache()
    failure = {"attempt": 1, "reason": reason, "time": format_time(after(60))}
    cache.put(JOBS, a_job("seedlings", conditions=[WAITS], lastFailure=failure))
    labels = SERIES | {"name": "seedlings", "reason": told}
    assert page_of(cache).get_sample_value(names.JOB_FAILURE.name, labels) == after(60).timestamp()


def test_what_was_looked_at_is_told_whatever_happens_meanwhile() -> None:
    cache = filled()
    jobs = JobMetrics(cache, TransientStates(), after(120).timestamp)
    measure = jobs.collect()
    cache.put(JOBS, a_job("trains", 2, progress=progress(50).plain()))
    cache.drop(JOBS, ("team", "waits"), "uid-waits")
    assert b'name="waits"' in exposition_page(measure)
    assert progress_told(exposition_page(measure)) == 0.25
    assert progress_told(exposition_page(jobs.collect())) == 0.5


def test_a_job_that_the_operator_has_written_is_not_read_again() -> None:
    cache = filled()
    jobs = JobMetrics(cache, TransientStates(), after(120).timestamp)
    record = a_job("trains", 2, progress=progress(50).plain())
    cache.put(JOBS, record)
    job = job_view(job_record(record))
    jobs.update(replace(job, status=job.status.model_copy(update={"progress": progress(60)})))
    assert progress_told(exposition_page(jobs.collect())) == 0.6, "as it was learnt"
    cache.put(JOBS, a_job("trains", 3, progress=progress(70).plain()))
    assert progress_told(exposition_page(jobs.collect())) == 0.7, "somebody else has changed it since"


def progress_told(content: bytes) -> float:
    """Return what a page says of the job that trains."""
    (line,) = (each for each in content.decode().splitlines() if each.startswith(names.JOB_PROGRESS.name))
    return float(line.rpartition(" ")[2])
