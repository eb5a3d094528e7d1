"""A SweepJob has the whole lifecycle of a TrainingJob: what differs is told here as stories and tables."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from seedbed_api.sweepjob_status import SweepJobStatus
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import WorkerCounts
from seedbed_operator.backends.child_metadata import driver_name, service_name, worker_name
from support.operator.builders import (
    LEDGER,
    SWEEP,
    JobBuilder,
    a_sweep_job,
    a_sweeps_end,
    a_sweeps_word,
    a_training_job,
    after,
    trials,
)
from support.operator.simulated_cluster import World, a_world

DRIVER = "seedlings-1-sweep-driver"


def status_of(world: World) -> SweepJobStatus:
    status = world.job.status
    assert isinstance(status, SweepJobStatus)
    return status


def searching(world: World, done: int = 1, attempt: int = 1) -> World:
    """Bring an attempt to where trials train and some are decided."""
    world.settle().start().settle()
    return world.say(f"seedlings-{attempt}-sweep-driver", a_sweeps_word(done)).wait(10)


def test_a_sweep_begins_with_its_fewest_workers_grows_and_is_complete() -> None:
    world = a_world(a_sweep_job())
    assert world.act()
    assert world.names() == ["1-sweep-driver", "1-sweep-worker-0"]
    assert set(world.services) == {"seedlings-1-sweep-head"}
    body = world.bodies[DRIVER]
    assert body["metadata"]["labels"]["seedbed.dev/kind"] == "SweepJob"
    assert body["metadata"]["ownerReferences"][0]["kind"] == "SweepJob"
    told = json.loads(setting(world, DRIVER, "SEEDBED_JOB") or "")
    assert (told["kind"], told["spec"]["maxTrialCount"]) == ("SweepJob", 12)

    searching(world, done=4)
    assert world.says() == "True Training"
    assert world.names() == ["1-sweep-driver", *(f"1-sweep-worker-{index}" for index in range(3))]
    status = status_of(world)
    assert (status.sweep_id, status.workers) == (SWEEP, WorkerCounts(ready=1, desired=3))
    assert status.trials is not None
    assert status.trials.finished == "4/12"
    assert status.best_trial is not None
    assert status.best_trial.objective == "0.13"

    world.start().settle()
    world.say(DRIVER, a_sweeps_word(12, "Finishing")).wait(10)
    cut = trials(12, ledger=LEDGER)
    cut = cut.model_copy(update={"top_trials": cut.top_trials[:3]})
    world.end(DRIVER, 0, a_sweeps_end(sweep=cut)).settle()
    assert world.says("Complete") == "False Trained"
    world.finish_deletions().settle().finish_deletions().settle()
    assert world.says("Complete") == "True Trained"
    assert world.names() == []
    status = status_of(world)
    assert status.ledger == LEDGER
    assert status.trials is not None
    assert status.trials.finished == "12/12"
    assert len(status.top_trials) == 12, "a message that was cut for room takes no row away"


def setting(world: World, pod: str, name: str) -> str | None:
    env = world.bodies[pod]["spec"]["containers"][0]["env"]
    return next((entry.get("value") for entry in env if entry["name"] == name), None)


def test_a_driver_that_is_lost_is_followed_by_one_that_must_find_the_same_sweep() -> None:
    world = searching(a_world(a_sweep_job()), done=5)
    world.end(DRIVER, 137).settle().finish_deletions().settle().finish_deletions().settle()
    assert (world.says(), world.job.status.failures) == ("False BackingOff", 1)
    world.wait(20)
    driver = "seedlings-2-sweep-driver"
    assert driver in world.pods
    assert setting(world, driver, "SEEDBED_EXPECTED_RUN_ID") == SWEEP
    searching(world, done=1, attempt=2)
    found = status_of(world).trials
    assert found is not None
    assert found.finished == "5/12", "a driver that begins again has to find its trials first"
    world.say(driver, a_sweeps_word(6)).wait(10)
    found = status_of(world).trials
    assert found is not None
    assert found.finished == "6/12"


KEPT: dict[str, tuple[Any, int]] = {
    "no trial came further": (None, 1),
    "a trial had kept its state before this attempt": (after(-60), 1),
    "a trial kept its state, or was decided": (after(5), 0),
}


@pytest.mark.parametrize(("kept", "in_vain"), KEPT.values(), ids=KEPT.keys())
def test_an_attempt_is_in_vain_unless_trials_have_kept_something(kept: Any, in_vain: int) -> None:
    world = searching(a_world(a_sweep_job()))
    told = trials(3, kept_time=None if kept is None else format_time(kept))
    world.end(DRIVER, 75, a_sweeps_end("Failed", "TrialUndecided", sweep=told)).settle()
    status = world.job.status
    assert (status.infrastructure_failures, status.attempts_without_checkpoint) == (1, in_vain)
    assert world.says() == "False BackingOff"


def test_suspend_stops_the_driver_first_and_resume_goes_on() -> None:
    world = searching(a_world(a_sweep_job()), done=3).start().settle()
    world.edit(suspend=True).settle()
    assert world.pods[DRIVER].deleting
    assert not world.pods["seedlings-1-sweep-worker-0"].deleting
    world.end(DRIVER, 143, a_sweeps_end("Stopped", "Stopped", sweep=trials(4))).settle()
    world.finish_deletions().settle().finish_deletions().settle()
    assert (world.says("Suspended"), world.names()) == ("True Suspended", [])
    counted = status_of(world).trials
    assert counted is not None
    assert counted.finished == "4/12"
    world.edit(suspend=False).settle()
    assert world.names() == ["2-sweep-driver", "2-sweep-worker-0"]
    assert (world.job.status.failures or 0) == 0


@pytest.mark.parametrize("moves", [True, False], ids=["any trial moves", "none does"])
def test_a_sweep_hangs_when_no_trial_makes_a_step(moves: bool) -> None:
    world = searching(a_world(a_sweep_job(progressDeadlineSeconds=60)), done=1)
    for turn in range(1, 9):
        steps = 10 + (turn if moves else 0)
        told = trials(1, steps=steps)
        world.say(DRIVER, a_sweeps_word(1).model_copy(update={"sweep": told})).wait(15)
    assert ("ProgressDeadlineExceeded" in world.reasons) is not moves
    assert (world.says() == "True Training") is moves


RANKS: dict[str, tuple[JobBuilder, tuple[int, int]]] = {
    "one rank for each trial at a time": (a_sweep_job(parallelTrialCount=4), (1, 4)),
    "workers.max is no bound": (a_sweep_job(parallelTrialCount=4).with_workers(1, 2), (1, 4)),
    "workers.min to begin with": (a_sweep_job(parallelTrialCount=4).with_workers(2, 2), (2, 4)),
    "never more than are of use": (a_sweep_job(parallelTrialCount=2).with_workers(3, 3), (2, 2)),
    "trials of several ranks come one after the other": (
        a_sweep_job(parallelTrialCount=4, workersPerTrial=3),
        (3, 3),
    ),
    "so do those that Ray Data feeds": (a_sweep_job().with_cluster(feed="RayData"), (1, 1)),
    "a training of 8 shards": (a_training_job().with_workers(2, 7), (2, 4)),
}


@pytest.mark.parametrize(("job", "ranks"), RANKS.values(), ids=RANKS.keys())
def test_how_many_ranks_a_job_has_at_first_and_at_most(job: JobBuilder, ranks: tuple[int, int]) -> None:
    spec = job.build().spec
    assert spec is not None
    assert (spec.fewest_ranks, spec.most_ranks) == ranks


def test_no_child_of_a_training_has_the_name_of_a_sweeps_child() -> None:
    """Whatever the two are called: names that look like the beginning of others' are tried on purpose."""
    stems = ("a", "a-1", "a-1-sweep", "a-sweep", "a-1-sweep-1", "sweep")
    makers = (driver_name, service_name, lambda job, attempt: worker_name(job, attempt, 0))
    for (one, other), (n, m) in itertools.product(
        itertools.product(stems, stems), itertools.product((1, 2, 11), (1, 2, 11))
    ):
        training = a_training_job().seen(name=one).build()
        sweep = a_sweep_job().seen(name=other).build()
        assert {make(training, n) for make in makers}.isdisjoint({make(sweep, m) for make in makers})


def test_a_refused_place_of_data_is_named_where_it_stands_in_a_sweep() -> None:
    fields = a_sweep_job().fields
    recipe = fields["trialTemplate"]["spec"]
    there = {"spec": {**recipe, "dataset": {"uri": "pvc://other/data"}}}
    world = a_world(a_sweep_job(trialTemplate=there)).settle()
    assert world.says() == "False URINotAllowed"
    assert world.message().startswith("spec.trialTemplate.spec.dataset.uri: is not allowed by the profile")
