"""Whatever happens to a job: the plan rests, touches nothing foreign, and the job comes to an end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.operator.builders import a_profile, a_sweep_job, a_training_job
from support.operator.random_walk import EVENTS, Walk
from support.operator.simulated_cluster import a_world

STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(EVENTS)), st.integers(min_value=0, max_value=255)), max_size=25
)


QUEUE = {"kueue.x-k8s.io/queue-name": "team-a"}


def walked(
    least: int, most: int, steps: list[tuple[str, int]], *, sweeps: bool = False, queued: bool = False
) -> Walk:
    job = a_sweep_job(parallelTrialCount=most) if sweeps else a_training_job()
    job = job.seen(labels=QUEUE if queued else {}).with_workers(least, most)
    walk = Walk(world=a_world(job, profile=a_profile(allowedLabels=["kueue.x-k8s.io/"])).settle())
    walk.check()
    for name, number in steps:
        walk.do(name, number)
    return walk


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, least=st.integers(1, 3), sweeps=st.booleans(), queued=st.booleans())
def test_a_walk_keeps_what_must_hold_and_comes_to_an_end(
    steps: list[tuple[str, int]], least: int, sweeps: bool, queued: bool
) -> None:
    walked(least, 4, steps, sweeps=sweeps, queued=queued).mend()


@pytest.mark.slow
@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, least=st.integers(1, 3), sweeps=st.booleans(), queued=st.booleans())
def test_many_walks(steps: list[tuple[str, int]], least: int, sweeps: bool, queued: bool) -> None:
    walked(least, 4, steps, sweeps=sweeps, queued=queued).mend()


Steps = list[tuple[str, int]]
MUTATIONS: dict[str, tuple[str, object, Steps]] = {
    "drivers of others are ours": (
        "planning.job_context.is_our_driver",
        lambda pod, job: pod.role == "driver",
        [("start_all", 0), ("intrude", 1), ("suspend", 1)],
    ),
    "an end is not final": (
        "planning.planner.is_finished",
        lambda status: False,
        [("start_all", 0), ("end_driver", 2), ("finish_deletions", 0), ("finish_deletions", 0)],
    ),
    "nothing wakes the job": (
        "plan.PlanBuilder.requeue",
        lambda draft, *moments: draft,
        [("start_all", 0), ("advance", 8)],
    ),
    "a worker that leaves has left its group": (
        "planning.worker_count._has_left_group",
        lambda pod: pod.deleting,
        [("start_all", 0), ("delete", 1)],
    ),
    "an end does not wait for the last pod": (
        "planning.job_context.JobContext.remaining_pods",
        lambda scene: (),
        [("start_all", 0), ("end_driver", 0)],
    ),
}


@pytest.mark.parametrize(("target", "mutant", "steps"), MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_walk_notices_a_planner_that_does_wrong(
    target: str, mutant: object, steps: Steps, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked(1, 4, steps, queued=True)
    monkeypatch.setattr(f"seedbed_operator.{target}", mutant)
    with pytest.raises(AssertionError):
        walked(1, 4, steps, queued=True)
