"""Whatever happens to a job: the plan rests, repeats itself, touches nothing foreign, and the job comes to an end."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unit.operator.planning.builders import a_training_job
from unit.operator.planning.wandering import EVENTS, Walk
from unit.operator.planning.worlds import a_world

STEPS = st.lists(
    st.tuples(st.sampled_from(sorted(EVENTS)), st.integers(min_value=0, max_value=255)), max_size=25
)


def walked(least: int, most: int, steps: list[tuple[str, int]]) -> Walk:
    walk = Walk(world=a_world(a_training_job().with_workers(least, most)).settle())
    walk.check()
    for name, number in steps:
        walk.do(name, number)
    return walk


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, least=st.integers(1, 3))
def test_a_walk_keeps_what_must_hold_and_comes_to_an_end(steps: list[tuple[str, int]], least: int) -> None:
    walked(least, 4, steps).mend()


@pytest.mark.slow
@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=STEPS, least=st.integers(1, 3))
def test_many_walks(steps: list[tuple[str, int]], least: int) -> None:
    walked(least, 4, steps).mend()
