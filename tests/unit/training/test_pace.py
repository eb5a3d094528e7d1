"""The pace of a run: what a person reads as images per second."""

from __future__ import annotations

from seedbed.training.timing import Pace


def test_nothing_is_said_before_a_second_mark() -> None:
    assert Pace().steps_per_second(0, now=0.0) is None


def test_a_slow_start_is_forgotten_after_the_window() -> None:
    pace = Pace(window_seconds=3.0)
    marks = [(0.0, 0), (60.0, 1), (61.0, 11), (62.0, 21), (63.0, 31), (64.0, 41)]
    paces = [pace.steps_per_second(completed, now=now) for now, completed in marks]
    assert paces[1] == 1 / 60
    assert paces[-1] == 10.0
