"""What changed while the operator was away, or in the profile, reaches no pod of an attempt that is under way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from seedbed_api.execution_settings import Checkpoint, Cluster, Output, Overrides
from seedbed_api.recipe import SecretRef
from support.operator.builders import a_profile, a_sweep_job, a_training_job, an_outcome, live
from support.operator.simulated_cluster import World, a_world

DRIVER = "seedlings-1-driver"
ELSEWHERE = Output(uri="s3://elsewhere")


def training(world: World) -> World:
    world.settle().start().settle()
    return world.say(DRIVER, live(7)).wait(10)


def two() -> World:
    return training(a_world(a_training_job().with_workers(2, 2)))


def counted(world: World) -> int:
    status = world.job.status
    return sum(count or 0 for count in (status.failures, status.infrastructure_failures, status.preemptions))


def test_an_edit_that_nobody_saw_stops_the_attempt_as_a_suspension_would_have() -> None:
    world = two()
    world.edit(output=ELSEWHERE)
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-1"], "no worker writes elsewhere than its driver"
    assert world.pods[DRIVER].deleting
    assert world.says() == "False Stopping"
    assert "suspended, changed and resumed while no operator ran" in world.message()
    world.end(DRIVER, 143, an_outcome("Stopped", "Stopped")).settle().finish_deletions().settle()
    assert world.names() == ["2-driver", "2-worker-0", "2-worker-1"]
    assert counted(world) == 0
    assert world.job.status.last_failure is None
    assert world.says("Suspended") == "False Resumed"
    for name in world.pods:
        assert "s3://elsewhere" in str(world.bodies[name])
    world.start().settle()
    world.say("seedlings-2-driver", live(9)).wait(10)
    assert world.says() == "True Training", "the new attempt is as the job says"


@pytest.mark.parametrize(
    "edit",
    [
        {"backoff_limit": 9},
        {"active_deadline_seconds": 10_000},
        {"checkpoint": Checkpoint.model_validate({"everySteps": 7})},
        {"progress_deadline_seconds": 5000},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_may_change_at_any_time_stops_nothing(edit: dict[str, Any]) -> None:
    world = two().edit(**edit)
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    assert world.says() == "True Training"


def with_cluster(world: World, **fields: Any) -> World:
    """Edit what may change at any time, as a person does with kubectl."""
    assert world.job.spec is not None
    return world.edit(cluster=Cluster.model_validate({**world.job.spec.cluster.plain(), **fields}))


RANGES = {
    "raised": ((1, 1), (1, 4)),
    "raised, the minimum too": ((1, 1), (4, 4)),
    "lowered": ((2, 4), (1, 1)),
    "lowered to the default": ((1, 4), (1, 1)),
    "the minimum lowered": ((4, 4), (1, 4)),
}


@pytest.mark.parametrize("first", ["before its first step", "while it trains"])
@pytest.mark.parametrize(("before", "then"), RANGES.values(), ids=RANGES.keys())
def test_a_range_of_workers_that_changes_counts_from_the_next_attempt_and_the_status_says_so(
    before: tuple[int, int], then: tuple[int, int], first: str
) -> None:
    world = a_world(a_training_job().with_workers(*before)).settle().start().settle()
    if first == "while it trains":
        world.say(DRIVER, live(7)).wait(10).start().settle().wait(10)
    pods, says = world.names(), world.says()
    assert "changed since" not in world.message()
    with_cluster(world, workers={"min": then[0], "max": then[1]}).settle().wait(30)
    assert (world.names(), world.says()) == (pods, says), "the driver was told of its range when it began"
    assert (
        "changed since attempt 1 started, used from the next one on: spec.cluster.workers." in world.message()
    )
    with_cluster(world, workers={"min": before[0], "max": before[1]}).settle().wait(10)
    assert "changed since" not in world.message()
    with_cluster(world, workers={"min": then[0], "max": then[1]}).settle()
    world.edit(suspend=True).settle().finish_deletions().settle()
    world.edit(suspend=False).settle()
    assert len(world.names()) == 1 + then[0]
    world.start().settle()
    assert "changed since" not in world.message()


def test_a_lost_worker_of_a_changed_range_is_replaced_within_the_old_one() -> None:
    world = two()
    with_cluster(world, workers={"min": 1, "max": 1}).vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


@pytest.mark.parametrize("feed", ["Local", "RayData"])
def test_another_feed_stops_nothing_and_is_told(feed: str) -> None:
    world = with_cluster(two(), feed=feed).settle().wait(30)
    assert world.says() == "True Training"
    assert "used from the next one on: spec.cluster.feed (" in world.message()


def test_a_sweep_is_told_that_more_trials_at_a_time_count_later() -> None:
    world = a_world(a_sweep_job(parallelTrialCount=1)).settle().start().settle()
    world.edit(parallel_trial_count=3).settle()
    assert len(world.names()) == 2
    assert "spec.parallelTrialCount" in world.message()


def edited(world: World, place: str) -> World:
    """Change what a person may change while the job is suspended."""
    spec = world.job.spec
    assert spec is not None
    cluster = spec.cluster
    edits: dict[str, dict[str, Any]] = {
        "output.uri": {"output": ELSEWHERE},
        "output.secretRef": {"output": spec.output.model_copy(update={"secret_ref": SecretRef(name="new")})},
        "dataset.uri": {"dataset": spec.dataset.model_copy(update={"uri": "s3://copy/seedlings"})},
        "cluster.profile": {"cluster": cluster.model_copy(update={"profile": "other"})},
        "cluster.overrides": {"cluster": cluster.model_copy(update={"overrides": Overrides(cpu="8")})},
    }
    return world.edit(**edits[place])


@pytest.mark.parametrize(
    "place", ["output.uri", "output.secretRef", "dataset.uri", "cluster.profile", "cluster.overrides"]
)
def test_whatever_may_change_in_a_suspended_job_is_noticed(place: str) -> None:
    world = edited(two(), place).settle()
    assert world.says() == "False Stopping"


def test_an_attempt_that_completes_before_it_is_stopped_is_complete() -> None:
    world = two().edit(output=ELSEWHERE).end(DRIVER, 0, an_outcome()).settle()
    assert world.says("Complete") == "False Trained"


LARGER = {"worker": {"resources": {"memory": "8Gi"}, "workersPerPod": 1}}


def test_a_changed_profile_leaves_an_attempt_alone_that_has_all_its_workers() -> None:
    world = two()
    world.profile = a_profile(generation=2, **LARGER)
    world.settle().wait(60)
    assert world.says() == "True Training"
    assert world.message() == ""
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


def test_an_attempt_whose_profile_has_changed_does_not_grow() -> None:
    world = a_world(a_training_job().with_workers(1, 2)).settle().start().settle()
    world.profile = a_profile(generation=2, **LARGER)
    world.say(DRIVER, live(7)).wait(10)
    assert world.names() == ["1-driver", "1-worker-0"]
    assert "the profile has changed, and the next attempt uses the new one" in world.message()


def test_an_attempt_that_loses_workers_after_its_profile_has_changed_begins_anew_uncounted() -> None:
    world = two()
    world.profile = a_profile(generation=2, **LARGER)
    world.lose_node("seedlings-1-worker-1").settle()
    assert world.pods[DRIVER].deleting
    assert "1-worker-2" not in world.names()
    world.finish_deletions().settle().finish_deletions().settle()
    assert world.names() == ["2-driver", "2-worker-0", "2-worker-1"]
    assert counted(world) == 0
    assert "8Gi" in str(world.bodies["seedlings-2-worker-0"])


def test_the_ranks_of_a_pod_are_those_with_which_the_attempt_began() -> None:
    profile = a_profile(worker={"workersPerPod": 4})
    world = training(a_world(a_training_job().with_workers(4, 8), profile=profile))
    world.start().settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]
    world.profile = a_profile(generation=2, worker={"workersPerPod": 1})
    world.settle().wait(30)
    assert world.says() == "True Training"
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"], "two pods of four are eight ranks"


@pytest.mark.parametrize(
    "change",
    [
        {"image": "registry.example/seedbed@sha256:" + "7" * 64},
        {"allowedImages": ["registry.example/"]},
        {"allowedNamespaces": {"selector": {}}},
        {"maxPerJob": {"workers": 64, "memory": "1Ti"}},
    ],
    ids=["the image, which is pinned", "what jobs may do", "who may use it", "how large a job may be"],
)
def test_what_shows_in_no_pod_does_not_hold_up_replacements(change: dict[str, Any]) -> None:
    world = two()
    world.profile = a_profile(generation=2, **change)
    world.vanish("seedlings-1-worker-0").settle()
    assert world.names() == ["1-driver", "1-worker-0", "1-worker-1"]


def test_a_driver_without_a_note_is_taken_as_it_is() -> None:
    world = two().edit(output=ELSEWHERE)
    world.pods[DRIVER] = replace(world.pods[DRIVER], template=None)
    world.vanish("seedlings-1-worker-0").settle()
    assert world.says() == "True Training"
