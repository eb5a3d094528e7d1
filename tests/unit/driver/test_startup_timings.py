from __future__ import annotations

import pytest

from seedbed.driver.startup_timings import StartupTimings, mark_startup_times
from seedbed.training.run_progress import StartupTimes

WAY = StartupTimes(began=1_000_010.0, first_batch=1_000_012.0, first_step=1_000_013.5)


def a_timeline() -> StartupTimings:
    timeline = StartupTimings(began=1_000_000.0)
    timeline.mark("RayStarted", at=1_000_004.0)
    return timeline


def test_the_parts_add_up_to_the_time_from_process_start_to_first_step():
    timeline = a_timeline()
    mark_startup_times(timeline, WAY)
    assert timeline.parts == {"RayStarted": 4.0, "WorkersStarted": 6.0, "FirstBatch": 2.0, "FirstStep": 1.5}
    assert sum(timeline.parts.values()) == 13.5


@pytest.mark.parametrize(
    "moments",
    [None, StartupTimes(began=1_000_010.0), StartupTimes(began=1_000_010.0, first_batch=1_000_012.0)],
    ids=["nothing told", "no batch yet", "no step yet"],
)
def test_nothing_is_marked_before_the_first_step(moments):
    timeline = a_timeline()
    mark_startup_times(timeline, moments)
    assert list(timeline.parts) == ["RayStarted"]


def test_a_later_worker_group_changes_nothing():
    timeline = a_timeline()
    mark_startup_times(timeline, WAY)
    told = dict(timeline.parts)
    mark_startup_times(
        timeline, StartupTimes(began=1_000_100.0, first_batch=1_000_101.0, first_step=1_000_102.0)
    )
    assert timeline.parts == told


def test_a_clock_of_another_machine_that_is_behind_makes_no_part_negative():
    timeline = a_timeline()
    mark_startup_times(
        timeline, StartupTimes(began=1_000_001.0, first_batch=1_000_002.0, first_step=1_000_006.0)
    )
    assert timeline.parts["WorkersStarted"] == timeline.parts["FirstBatch"] == 0.0
    assert sum(timeline.parts.values()) == 6.0
