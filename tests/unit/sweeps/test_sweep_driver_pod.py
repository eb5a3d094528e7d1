"""What the driver pod of a sweep counts and tells, whatever becomes of single runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from seedbed.feed.io_counters import IoTotals
from seedbed.search.learning_curve import Failed, Finished, LearningCurve
from seedbed.search.trial_segment import SegmentResult
from seedbed.sweeps.sweep_metrics import ProgressTotals, work_families
from seedbed.training.resource_usage import ResourceUsage
from seedbed.training.run_progress import PartSeconds, RunProgress, SavedCheckpoint
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import CallbackCollector
from unit.sweeps.scheduled_sweeps import scheduler

FIRST, OTHER = (0, 0), (1, 0)


def at(step: int, *, since: int = 0, kept: float | None = None) -> RunProgress:
    """Return how far a run is that began at a step."""
    checkpoint = None if kept is None else SavedCheckpoint(step=step, digest="sha256:" + "0" * 64, time=kept)
    return RunProgress(step=step, total_steps=100, epoch=1, resumed_from=since, checkpoint=checkpoint)


def result(computed: int, end: Any = None) -> SegmentResult:
    return SegmentResult(curve=LearningCurve(end=end or Finished(value=1)), steps=computed)


def test_steps_of_all_runs_are_one_number_that_only_grows() -> None:
    totals = ProgressTotals()
    seen = []
    for place, progress in (
        (FIRST, at(5)),
        (OTHER, at(43, since=40)),
        (FIRST, at(9)),
        (FIRST, at(9)),
        (OTHER, at(41, since=40)),
        (OTHER, at(44, since=40)),
    ):
        if place not in totals.running:
            totals.begin(place)
        totals.update(place, progress)
        seen.append(totals.steps)
    assert seen == [5, 8, 12, 12, 12, 15], "what a lost worker does again are steps too"


def test_a_stretch_that_nobody_saw_on_its_way_counts_when_it_is_there() -> None:
    totals = ProgressTotals()
    totals.begin(FIRST)
    totals.update(FIRST, at(2))
    totals.add_result(FIRST, result(7), now=100.0)
    totals.end(FIRST)
    assert (totals.steps, totals.checkpoint_time, totals.running) == (7, 100.0, {})
    totals.begin(FIRST)
    totals.update(FIRST, at(9, since=7))
    assert totals.steps == 9, "the next segment begins where this one ended"


KEPT: dict[str, tuple[SegmentResult, float | None]] = {
    "a trial came to its end": (result(3), 100.0),
    "it was found, not trained": (result(0), None),
    "it fails, and will fail again": (result(3, Failed(reason="NonFiniteLoss")), None),
}


@pytest.mark.parametrize(("came", "kept"), KEPT.values(), ids=KEPT.keys())
def test_what_outlasts_an_attempt(came: SegmentResult, kept: float | None) -> None:
    totals = ProgressTotals()
    totals.begin(FIRST)
    totals.add_result(FIRST, came, now=100.0)
    assert totals.checkpoint_time == kept


def test_a_checkpoint_outlasts_an_attempt() -> None:
    totals = ProgressTotals()
    totals.begin(FIRST)
    totals.update(FIRST, at(2, kept=50.0))
    totals.update(FIRST, at(3, kept=40.0))
    assert totals.checkpoint_time == 50.0


def worth(data: float, compute: float) -> RunProgress:
    """Return what a run tells whose worker group has spent so much."""
    return replace(at(1), seconds=PartSeconds(data=data, compute=compute))


def test_the_seconds_of_all_runs_only_grow_whatever_becomes_of_a_run() -> None:
    totals, seen = ProgressTotals(), []
    for place, progress in (
        (FIRST, worth(1, 4)),
        (OTHER, worth(2, 2)),
        (FIRST, worth(1, 1)),  # its worker was lost
        (FIRST, worth(2, 6)),
        (OTHER, None),
        (OTHER, worth(0, 1)),  # its next segment
    ):
        if progress is None:
            totals.end(place)
        elif place in totals.running:
            totals.update(place, progress)
        else:
            totals.begin(place)
            totals.update(place, progress)
        seen.append((totals.seconds().data, totals.seconds().compute))
    assert seen == [(1, 4), (3, 6), (4, 7), (5, 12), (5, 12), (5, 13)]


def test_a_sweep_tells_what_its_runs_do_and_use_in_the_words_of_a_training() -> None:
    totals, job = ProgressTotals(), scheduler().state.sweep.job
    usage = ResourceUsage(rank=0, io_totals=IoTotals(), resident_bytes=500, gpu=0.5)
    for place, its in ((OTHER, replace(usage, resident_bytes=700, gpu=None)), (FIRST, usage)):
        totals.begin(place)
        totals.update(place, replace(worth(1, 4), usages=(its,)))
    registry = CollectorRegistry()
    registry.register(CallbackCollector(lambda: work_families(totals, job)))
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
