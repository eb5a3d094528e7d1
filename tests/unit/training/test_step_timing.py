"""The pace of a run and the time that is left: what a person reads as images per second and as remaining time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.training.step_schedule import EverySteps, StepSchedule
from seedbed.training.step_timing import DurationEstimate, StepRate, Stopwatch


@dataclass(kw_only=True)
class Rehearsal:
    """A run of which only the durations are real: what they are is drawn, and what is told between is kept."""

    milestones: StepSchedule
    steps: Iterator[float]
    evaluations: Iterator[float]
    checkpoints: Iterator[float]
    now: float = 0.0
    told: list[tuple[float, float | None, float | None]] = field(default_factory=list)
    """When, how much time was thought to be left, and how fast it was said to be."""

    def run(self, *, begun: int = 0) -> None:
        watch = Stopwatch(clock=lambda: self.now)
        for completed in range(begun + 1, self.milestones.total_steps + 1):
            self.now += next(self.steps)
            watch.record_step()
            pauses = (
                ("evaluation", self.milestones.is_evaluation(completed), self.evaluations),
                ("checkpoint", self.milestones.is_checkpoint(completed), self.checkpoints),
            )
            done = {name: not due for name, due, _ in pauses}
            self.tell(watch, completed, done)
            for name, due, seconds in pauses:
                if due:
                    with watch.part(name):
                        self.now += next(seconds)
                    done[name] = True
                    self.tell(watch, completed, done)

    def tell(self, watch: Stopwatch, completed: int, done: dict[str, bool]) -> None:
        ahead = self.milestones.remaining(completed, evaluated=done["evaluation"], saved=done["checkpoint"])
        self.told.append((self.now, watch.seconds_left(ahead), watch.step_rate.steps_per_second))

    @property
    def known(self) -> list[tuple[float, float, float]]:
        """What was told since something is known: all of it, or a value has been None in between."""
        first = next(place for place, (_, left, _) in enumerate(self.told) if left is not None)
        known = [(now, left, pace) for now, left, pace in self.told[first:] if left is not None and pace]
        assert len(known) == len(self.told) - first, "what is known once stays known"
        return known


def every(seconds: float) -> Iterator[float]:
    while True:
        yield seconds


def a_run(*, total: int, evaluate: int, keep: int) -> StepSchedule:
    return StepSchedule(
        total_steps=total,
        evaluation=EverySteps(steps=evaluate),
        checkpoint_every_steps=keep,
        checkpoint_at_evaluations=False,
    )


def test_a_minute_of_evaluation_changes_neither_the_pace_nor_the_order_of_the_time_that_is_left() -> None:
    played = Rehearsal(
        milestones=a_run(total=2000, evaluate=200, keep=2000),
        steps=every(0.1),
        evaluations=every(60.0),
        checkpoints=every(1.0),
    )
    played.run()
    assert all(pace == pytest.approx(10.0) for _, _, pace in played.known)
    before = [left for now, left, _ in played.known if now < 20.05]
    assert before[-1] == pytest.approx(180.0), "nobody knows yet what an evaluation takes"
    after = [(now, left) for now, left, _ in played.known if now > 20.05]
    end = played.now
    last = 2.0  # the only checkpoint comes last
    assert all(left == pytest.approx(end - now, abs=last) for now, left in after)


def test_who_goes_on_shortly_before_a_long_evaluation_is_not_told_of_days() -> None:
    played = Rehearsal(
        milestones=a_run(total=100_000, evaluate=10_000, keep=10_000),
        steps=every(0.01),
        evaluations=every(60.0),
        checkpoints=every(5.0),
    )
    played.run(begun=9_990)
    truth = played.now
    assert max(left for _, left, _ in played.known) < 1.1 * truth


def test_what_was_slow_while_the_cache_was_cold_is_forgotten() -> None:
    epoch, cold, warm = 100, 1.0, 0.1
    played = Rehearsal(
        milestones=a_run(total=20 * epoch, evaluate=20 * epoch, keep=20 * epoch),
        steps=iter([cold] * epoch + [warm] * 19 * epoch),
        evaluations=every(1.0),
        checkpoints=every(1.0),
    )
    played.run()
    after_five_epochs = played.known[5 * epoch - 2]
    assert after_five_epochs[1] < 1.5 * (played.now - after_five_epochs[0])


SPREAD = 4.0
"""How many times as long as the shortest a step, an evaluation or a checkpoint may take."""
_LENGTHS = st.lists(st.floats(1.0, SPREAD), min_size=1, max_size=40)


def scaled(lengths: list[float], unit: float) -> Iterator[float]:
    while True:
        yield from (unit * length for length in lengths)


@settings(deadline=None, max_examples=60)
@given(
    total=st.integers(3, 300),
    begun=st.integers(0, 250),
    evaluate=st.integers(1, 60),
    keep=st.integers(1, 60),
    units=st.tuples(*[st.sampled_from([0.001, 0.1, 1.0, 100.0])] * 3),
    lengths=st.tuples(_LENGTHS, _LENGTHS, _LENGTHS),
)
def test_the_time_that_is_left_is_right_up_to_the_spread_of_the_durations(
    total: int,
    begun: int,
    evaluate: int,
    keep: int,
    units: tuple[float, float, float],
    lengths: tuple[list[float], list[float], list[float]],
) -> None:
    """From when one of each was seen: never None, never infinite, never off by more than that factor."""
    steps, evaluations, checkpoints = map(scaled, lengths, units)
    played = Rehearsal(
        milestones=a_run(total=total, evaluate=evaluate, keep=keep),
        steps=steps,
        evaluations=evaluations,
        checkpoints=checkpoints,
    )
    begun = min(begun, total - 3)
    played.run(begun=begun)
    seen = max(first_after(begun, evaluate, total), first_after(begun, keep, total))
    at = sum(1 for _ in _tells(played.milestones, begun, seen))
    for now, left, _ in (row for row in played.told[at:] if row[1] is not None):
        truth = played.now - now
        assert truth / SPREAD - 1e-6 <= (left or 0.0) <= truth * SPREAD + 1e-6
    assert played.known[-1][1] == 0.0


def first_after(begun: int, period: int, total: int) -> int:
    return min((begun // period + 1) * period, total)


def _tells(milestones: StepSchedule, begun: int, until: int) -> Iterator[int]:
    """Yield once for each time that something was told until so many steps."""
    for completed in range(begun + 1, until + 1):
        yield from [completed] * (
            1 + milestones.is_evaluation(completed) + milestones.is_checkpoint(completed)
        )


def test_nothing_is_said_before_a_second_step() -> None:
    pace = StepRate()
    assert pace.steps_per_second is None
    pace.record_step(1.0)
    assert (pace.steps_per_second, pace.step.count) == (None, 0)


def test_a_slow_start_is_forgotten_after_the_window() -> None:
    pace, paces = StepRate(window_seconds=3.0), []
    for now in (0.0, 60.0, *(60.0 + step / 10 for step in range(1, 41))):
        pace.record_step(now)
        paces.append(pace.steps_per_second)
    assert paces[1] == 1 / 60
    assert paces[-1] == pytest.approx(10.0)


def test_the_typical_duration_is_between_all_and_nearer_to_the_newest() -> None:
    typical = DurationEstimate()
    for seconds in (9.0, 1.0, 1.0):
        typical.add(seconds)
    assert typical.seconds == pytest.approx((1 * 9 + 2 * 1 + 3 * 1) / 6)
