"""Moments of pods are those at which this operator saw them, whatever other clocks have written."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from seedbed_operator.observe.transient_state import BEFORE_START, PodFirstSeen
from seedbed_operator.planning.attempt_outcome import ended_at
from support.operator.builders import NOON, UNPLACED, a_driver, a_worker, after, ended

OFFSETS = st.integers(-(10**6), 10**6).map(lambda seconds: timedelta(seconds=seconds))


@given(api_server=OFFSETS, scheduler=OFFSETS, kubelet=OFFSETS)
def test_no_stamp_of_another_clock_is_left(
    api_server: timedelta, scheduler: timedelta, kubelet: timedelta
) -> None:
    foreign = replace(
        ended(a_worker(), 1, at=NOON + kubelet),
        created=NOON + api_server,
        scheduled=NOON + scheduler,
        deleting=True,
        deletion_due=NOON + api_server + timedelta(seconds=30),
        deletion_grace=30,
    )
    first_seen = PodFirstSeen()
    first_seen.seen((), after(100))
    (pod,) = first_seen.seen((foreign,), after(101))
    assert (pod.created, pod.scheduled, pod.deletion_due) == (after(101), after(101), after(131))
    assert ended_at(pod) == after(101)


def test_what_was_seen_first_counts_and_each_thing_by_itself() -> None:
    first_seen = PodFirstSeen()
    moments: list[tuple[datetime | None, ...]] = []
    stages = (
        a_worker(**UNPLACED),
        a_worker(),
        a_worker(deleting=True, deletion_due=after(-600), deletion_grace=30),
        a_worker(deleting=True, deletion_due=after(-600), deletion_grace=5),
        ended(a_worker(deleting=True, deletion_grace=5), 143),
    )
    for second, stage in enumerate(stages):
        (pod,) = first_seen.seen((stage,), after(10 * second))
        moments.append((pod.created, pod.scheduled, pod.deletion_due, pod.over_since))
    assert moments == [
        (NOON, None, None, None),
        (NOON, after(10), None, None),
        (NOON, after(10), after(50), None),
        (NOON, after(10), after(25), None),
        (NOON, after(10), after(25), after(40)),
    ]


def test_what_had_ended_before_the_operator_looked_did_so_long_ago() -> None:
    first_seen = PodFirstSeen()
    before = ended(a_worker(0), 1)
    (pod,) = first_seen.seen((before,), NOON)
    assert ended_at(pod) == BEFORE_START
    since = [ended_at(pod) for pod in first_seen.seen((before, ended(a_worker(1), 1)), after(5))]
    assert since == [BEFORE_START, after(5)]


def test_pods_that_are_gone_are_forgotten() -> None:
    first_seen = PodFirstSeen()
    first_seen.seen((a_driver(),), NOON)
    first_seen.seen((), after(5))
    (pod,) = first_seen.seen((a_driver(),), after(10))
    assert pod.created == after(10)
