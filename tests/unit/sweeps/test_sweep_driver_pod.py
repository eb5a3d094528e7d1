"""What the driver pod of a sweep counts and tells, whatever becomes of single runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from seedbed.feed.io_counters import IoTotals
from seedbed.search.learning_curve import Failed, Finished, LearningCurve
from seedbed.sweeps.sweep_metrics import Tally, work_families
from seedbed.sweeps.trial_runner import Reached
from seedbed.training.resource_usage import Usage
from seedbed.training.run_progress import PartSeconds, RunProgress, SavedCheckpoint
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import Measuring
from unit.sweeps.scheduled_sweeps import conducting

FIRST, OTHER = (0, 0), (1, 0)


def at(step: int, *, since: int = 0, kept: float | None = None) -> RunProgress:
    """Return how far a run is that began at a step."""
    checkpoint = None if kept is None else SavedCheckpoint(step=step, digest="sha256:" + "0" * 64, time=kept)
    return RunProgress(step=step, total_steps=100, epoch=1, resumed_from=since, kept=checkpoint)


def reached(computed: int, end: Any = None) -> Reached:
    return Reached(course=LearningCurve(end=end or Finished(value=1)), computed=computed)


def test_steps_of_all_runs_are_one_number_that_only_grows() -> None:
    tally = Tally()
    seen = []
    for place, progress in (
        (FIRST, at(5)),
        (OTHER, at(43, since=40)),
        (FIRST, at(9)),
        (FIRST, at(9)),
        (OTHER, at(41, since=40)),
        (OTHER, at(44, since=40)),
    ):
        if place not in tally.running:
            tally.begin(place)
        tally.see(place, progress)
        seen.append(tally.steps)
    assert seen == [5, 8, 12, 12, 12, 15], "what a lost worker does again are steps too"


def test_a_stretch_that_nobody_saw_on_its_way_counts_when_it_is_there() -> None:
    tally = Tally()
    tally.begin(FIRST)
    tally.see(FIRST, at(2))
    tally.reach(FIRST, reached(7), now=100.0)
    tally.end(FIRST)
    assert (tally.steps, tally.kept, tally.running) == (7, 100.0, {})
    tally.begin(FIRST)
    tally.see(FIRST, at(9, since=7))
    assert tally.steps == 9, "the next stretch begins where this one ended"


KEPT: dict[str, tuple[Reached, float | None]] = {
    "a trial came to its end": (reached(3), 100.0),
    "it was found, not trained": (reached(0), None),
    "it fails, and will fail again": (reached(3, Failed(reason="NonFiniteLoss")), None),
}


@pytest.mark.parametrize(("came", "kept"), KEPT.values(), ids=KEPT.keys())
def test_what_outlasts_an_attempt(came: Reached, kept: float | None) -> None:
    tally = Tally()
    tally.begin(FIRST)
    tally.reach(FIRST, came, now=100.0)
    assert tally.kept == kept


def test_a_checkpoint_outlasts_an_attempt() -> None:
    tally = Tally()
    tally.begin(FIRST)
    tally.see(FIRST, at(2, kept=50.0))
    tally.see(FIRST, at(3, kept=40.0))
    assert tally.kept == 50.0


def worth(data: float, compute: float) -> RunProgress:
    """Return what a run tells whose worker group has spent so much."""
    return replace(at(1), seconds=PartSeconds(data=data, compute=compute))


def test_the_seconds_of_all_runs_only_grow_whatever_becomes_of_a_run() -> None:
    tally, seen = Tally(), []
    for place, progress in (
        (FIRST, worth(1, 4)),
        (OTHER, worth(2, 2)),
        (FIRST, worth(1, 1)),  # its worker was lost
        (FIRST, worth(2, 6)),
        (OTHER, None),
        (OTHER, worth(0, 1)),  # its next stretch
    ):
        if progress is None:
            tally.end(place)
        elif place in tally.running:
            tally.see(place, progress)
        else:
            tally.begin(place)
            tally.see(place, progress)
        seen.append((tally.seconds().data, tally.seconds().compute))
    assert seen == [(1, 4), (3, 6), (4, 7), (5, 12), (5, 12), (5, 13)]


def test_a_sweep_tells_what_its_runs_do_and_use_in_the_words_of_a_training() -> None:
    tally, job = Tally(), conducting().standing.sweep.job
    usage = Usage(rank=0, traffic=IoTotals(), resident_bytes=500, gpu=0.5)
    for place, its in ((OTHER, replace(usage, resident_bytes=700, gpu=None)), (FIRST, usage)):
        tally.begin(place)
        tally.see(place, replace(worth(1, 4), usages=(its,)))
    registry = CollectorRegistry()
    registry.register(Measuring(lambda: work_families(tally, job)))
    series = {"namespace": "", "name": job.metadata.name, "kind": "SweepJob"}
    expected = {
        (names.STEPS.name, ()): 2,
        (names.IMAGES.name, ()): 2 * job.spec.trial_template.spec.training.batch.global_size,
        (names.SECONDS.name, (("part", "data"),)): 2,
        (names.SECONDS.name, (("part", "compute"),)): 8,
        (names.MEMORY.name, (("process", "rank-0"),)): 500,
        (names.MEMORY.name, (("process", "rank-1"),)): 700,
        (names.GPU_UTILIZATION.name, (("process", "rank-0"),)): 0.5,
        (names.GPU_UTILIZATION.name, (("process", "rank-1"),)): None,
    }
    for (name, labels), value in expected.items():
        assert registry.get_sample_value(name, series | dict(labels)) == value, (name, labels)
    driver = registry.get_sample_value(names.MEMORY.name, series | {"process": "driver"})
    assert driver is not None
    assert driver > 10_000_000
