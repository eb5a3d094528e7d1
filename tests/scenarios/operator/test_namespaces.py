"""One of several watched namespaces is gone, or not there yet, or closed: the jobs of the others go on."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from seedbed_api.trainingjob_status import TrainingJobStatus
from seedbed_operator.informer_cache.cache import InformerCache
from seedbed_operator.kube_client.client_interface import ApiStatusError
from seedbed_operator.kube_client.resource_kinds import JOBS, PODS, PROFILES, JobKey
from seedbed_operator.metrics.counters import Counters
from seedbed_operator.metrics.job_metrics import JobMetrics
from seedbed_operator.observe.transient_state import TransientStates
from seedbed_operator.relist import Relister
from support.operator.builders import IMAGE, NOON, a_recipe, a_training_job
from support.operator.fake_api_server import ApiServer

TEAMS = ("alpha", "beta")
ENDED = TrainingJobStatus(attempts=1, accounted_attempts=1, failures=1)
"""A status that tells of an attempt that has ended."""


class Ground:
    """Two namespaces with a job each, and the sweeps of an operator that serves both."""

    def __init__(self) -> None:
        self.server, self.cache = ApiServer(), InformerCache()
        self.woken: set[JobKey] = set()
        self.lost: list[str] = []
        self.server.apply(PROFILES, {"metadata": {"name": "default"}, "spec": {"image": IMAGE}})
        for team in TEAMS:
            self.apply(team)
        self.relister = asyncio.run(self._sweeper())

    async def _sweeper(self) -> Relister:
        return Relister(self.server, self.cache, self.woken.update, TEAMS, self.lost.append)

    def apply(self, team: str, name: str = "digits") -> None:
        self.server.apply(JOBS, {"metadata": {"name": name, "namespace": team}, "spec": a_recipe()})
        labels = {"app.kubernetes.io/managed-by": "seedbed", "seedbed.dev/job": name}
        labels |= {"seedbed.dev/role": "worker", "seedbed.dev/attempt": "1"}
        metadata = {"name": f"{name}-1-worker-0", "namespace": team, "labels": labels}
        self.server.apply(PODS, {"metadata": metadata, "spec": {"containers": []}})

    def relist(self) -> set[JobKey]:
        self.woken.clear()
        asyncio.run(self.relister.relist())
        return set(self.woken)

    def known(self) -> list[str]:
        return sorted(job.namespace for job in self.cache.unfinished())


def test_a_namespace_that_may_not_be_read_any_more_is_left_alone_and_the_others_go_on() -> None:
    ground = Ground()
    ground.relist()
    ground.server.closed.add("beta")
    ground.apply("alpha", "another")
    assert JobKey("beta", "digits") in ground.relist(), "its pass forgets what is remembered of the job"
    assert ground.known() == ["alpha", "alpha"]
    assert ground.cache.pods(JobKey("beta", "digits")) == ()
    assert ground.cache.counts() == {"trainingjobs": 2, "sweepjobs": 0, "pods": 2, "trainingprofiles": 1}
    assert (ground.lost, ground.relister.readable) == (["beta"], ("alpha",))
    assert ground.relister.restart_watch.is_set(), "kopf ends where one of its watches is refused"
    assert ground.relister.relists == 2, "the operator is well"


def test_the_same_objects_are_seen_again_once_it_may_be_read() -> None:
    ground = Ground()
    ground.relist()
    ground.server.closed.add("beta")
    ground.relist()
    ground.relister.restart_watch.clear()
    ground.server.closed.clear()
    assert JobKey("beta", "digits") in ground.relist()
    assert ground.known() == ["alpha", "beta"]
    assert len(ground.cache.pods(JobKey("beta", "digits"))) == 1
    assert ground.relister.restart_watch.is_set()


def test_a_namespace_that_comes_later_is_served_from_then_on() -> None:
    ground = Ground()
    ground.server.closed.add("beta")
    ground.relist()
    assert ground.relister.readable == ("alpha",)
    ground.server.closed.clear()
    ground.relist()
    assert ground.relister.readable == TEAMS


def test_a_right_to_watch_that_is_withdrawn_counts_as_gone_until_it_is_back() -> None:
    ground = Ground()
    ground.relist()
    asked = ground.server.allows

    async def allows(verb: str, kind: Any, namespace: str | None, subresource: str = "") -> bool:
        return (verb, namespace) != ("watch", "beta") and await asked(verb, kind, namespace, subresource)

    ground.server.allows = allows  # type: ignore[method-assign]
    assert asyncio.run(ground.relister.find_unreadable())
    ground.relist()
    assert ground.relister.readable == ("alpha",), "it may be listed: that does not bring it back"
    ground.server.allows = asked  # type: ignore[method-assign]
    ground.relist()
    assert ground.relister.readable == TEAMS


def test_an_operator_that_may_read_no_namespace_sees_nothing_and_is_not_well() -> None:
    ground = Ground()
    ground.server.closed.update(TEAMS)
    with pytest.raises(ApiStatusError):
        ground.relist()
    assert ground.relister.last is None


@pytest.mark.parametrize(
    ("code", "kind"), [(500, JOBS), (429, PODS), (404, JOBS)], ids=["an error", "too much", "no definitions"]
)
def test_an_api_server_in_trouble_is_no_lost_namespace(code: int, kind: Any) -> None:
    ground = Ground()
    ground.relist()
    pages = ground.server.pages

    async def fail(of: Any, namespace: str | None, *, labels: str = "") -> Any:
        if of is kind and namespace == "beta":
            raise ApiStatusError(code, "Any", "x")
        async for page in pages(of, namespace, labels=labels):
            yield page

    ground.server.pages = fail  # type: ignore[method-assign]
    with pytest.raises(ApiStatusError):
        ground.relist()
    assert ground.known() == ["alpha", "beta"]


def test_the_series_of_a_lost_namespace_go_and_those_of_the_others_stay() -> None:
    ground = Ground()
    ground.relist()
    clock = NOON.timestamp
    jobs, counters = JobMetrics(ground.cache, TransientStates(), clock), Counters(clock)
    for team in TEAMS:
        counters.record_status(a_training_job().seen(namespace=team).build(), ENDED, NOON)
    ground.server.closed.add("beta")
    ground.relist()
    counters.forget(*ground.lost)
    families = [*jobs.collect()(), *counters.collect()()]
    told = {
        sample.labels["namespace"]
        for each in families
        for sample in each.samples
        if "namespace" in sample.labels
    }
    assert told == {"alpha"}


def test_what_was_counted_in_a_namespace_goes_an_hour_after_its_last_job() -> None:
    """An operator that serves all namespaces is not told that one was deleted."""
    ground, now = Ground(), NOON.timestamp()
    ground.relist()
    counters = Counters(lambda: now, ground.cache.namespaces)
    counters.record_status(a_training_job().seen(namespace="beta").build(), ENDED, NOON)

    def told() -> set[str]:
        return {sample.labels["namespace"] for each in counters.collect()() for sample in each.samples}

    now += 10_000
    assert told() == {"beta"}
    ground.server.remove(JOBS, "beta", "digits")
    ground.relist()
    now += 3000
    assert told() == {"beta"}, "Prometheus has yet to read how its last job ended"
    now += 700
    assert told() == set()
