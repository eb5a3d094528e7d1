"""Prometheus metrics of a sweep: trials by state, rungs, and the time that reused runs saved."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from seedbed.sweeps.sweep_metrics import saved_seconds, sweep_families
from seedbed.sweeps.trial_scheduler import SweepState
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import CallbackCollector
from support.runs.sweep_commands import ASHA
from unit.sweeps.scheduled_sweeps import EPOCHS, result, scheduler

SERIES = {"namespace": "team", "name": "tiny", "kind": "SweepJob"}


def stood(*, trained: int, reused: int = 0, **changes: object) -> SweepState:
    """Return a sweep whose first trials came to their ends, of which some are reused; 2 s per step."""
    state = scheduler(**changes).state
    for place, segment in enumerate(list(state.pending_segments())[: trained + reused]):
        whole = result(replace(segment, until_epoch=None))
        computed = EPOCHS if place < trained else 0
        state.record_result(segment, replace(whole, steps=computed, seconds=2.0 * computed))
    return state


def value(sweep: SweepState, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(CallbackCollector(lambda: sweep_families(sweep, namespace="team", running=2)))
    return registry.get_sample_value(name, SERIES | labels)


def test_trials_by_state_and_the_best_of_them() -> None:
    state = stood(trained=2, reused=1, earlyStopping=None)
    assert value(state, names.TRIALS.name, state="Succeeded") == 3
    assert value(state, names.TRIALS.name, state="Failed") == 0
    assert value(state, names.TRIALS.name, state="Running") == 2
    assert value(state, names.TRIALS_PLANNED.name) == 6
    assert value(state, names.TRIALS_REUSED.name) == 1
    best = value(state, names.BEST_OBJECTIVE.name)
    assert best is not None
    assert 1 <= best < 9


def test_rungs_are_occupied_by_the_trials_that_reached_them() -> None:
    state = scheduler(earlyStopping=ASHA).state
    for segment in list(state.pending_segments())[:3]:
        state.record_result(segment, result(segment))
    assert value(state, names.RUNG_TRIALS.name, epoch="1") == 3
    assert value(state, names.RUNG_TRIALS.name, epoch="2") == 0


@pytest.mark.parametrize(
    ("trained", "known", "saved"),
    [
        pytest.param(2, 1, 2.0 * EPOCHS, id="two trained, one looked up"),
        pytest.param(1, 3, 3 * 2.0 * EPOCHS, id="one trained, three looked up"),
        pytest.param(2, 0, 0.0, id="all trained"),
        pytest.param(0, 2, None, id="nothing trained here: nobody knows what it would have taken"),
    ],
)
def test_seconds_that_the_memo_saved(trained: int, known: int, saved: float | None) -> None:
    assert saved_seconds(stood(trained=trained, reused=known, earlyStopping=None)) == saved
