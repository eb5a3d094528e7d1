"""What the driver pod of a sweep counts and tells, whatever becomes of single runs."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.search.courses import Course, Failed, Finished
from seedbed.sweeps.pods import Tally
from seedbed.sweeps.trials import Reached
from seedbed.training.progress import Kept, Progress

FIRST, OTHER = (0, 0), (1, 0)


def at(step: int, *, since: int = 0, kept: float | None = None) -> Progress:
    """Return how far a run is that began at a step."""
    checkpoint = None if kept is None else Kept(step=step, digest="sha256:" + "0" * 64, time=kept)
    return Progress(step=step, total_steps=100, epoch=1, resumed_from=since, kept=checkpoint)


def reached(computed: int, end: Any = None) -> Reached:
    return Reached(course=Course(end=end or Finished(value=1)), computed=computed)


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
