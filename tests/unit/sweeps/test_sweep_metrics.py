"""What a sweep tells Prometheus: trials by state, rungs, and what the memo saved at the pace of what was trained."""

from __future__ import annotations

from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from seedbed.sweeps.sweep_metrics import saved_seconds, sweep_families
from seedbed.sweeps.trial_scheduler import Standing
from seedbed_api import metric_names as names
from seedbed_api.prometheus_exposition import Measuring
from support.runs.sweep_commands import ASHA
from unit.sweeps.scheduled_sweeps import EPOCHS, conducting, reached

SERIES = {"namespace": "team", "name": "tiny", "kind": "SweepJob"}


def stood(*, trained: int, reused: int = 0, **changes: object) -> Standing:
    """Return a sweep whose first trials came to their ends, of which the memo knew some; 2 s per step."""
    standing = conducting(**changes).standing
    for place, stretch in enumerate(list(standing.open_stretches())[: trained + reused]):
        whole = reached(replace(stretch, until=None))
        computed = EPOCHS if place < trained else 0
        standing.note(stretch, replace(whole, computed=computed, seconds=2.0 * computed))
    return standing


def value(standing: Standing, name: str, **labels: str) -> float | None:
    registry = CollectorRegistry()
    registry.register(Measuring(lambda: sweep_families(standing, namespace="team", running=2)))
    return registry.get_sample_value(name, SERIES | labels)


def test_trials_by_state_and_the_best_of_them() -> None:
    standing = stood(trained=2, reused=1, earlyStopping=None)
    assert value(standing, names.TRIALS.name, state="Succeeded") == 3
    assert value(standing, names.TRIALS.name, state="Failed") == 0
    assert value(standing, names.TRIALS.name, state="Running") == 2
    assert value(standing, names.TRIALS_PLANNED.name) == 6
    assert value(standing, names.TRIALS_REUSED.name) == 1
    best = value(standing, names.BEST_OBJECTIVE.name)
    assert best is not None
    assert 1 <= best < 9


def test_rungs_are_occupied_by_the_trials_that_reached_them() -> None:
    standing = conducting(earlyStopping=ASHA).standing
    for stretch in list(standing.open_stretches())[:3]:
        standing.note(stretch, reached(stretch))
    assert value(standing, names.RUNG_TRIALS.name, epoch="1") == 3
    assert value(standing, names.RUNG_TRIALS.name, epoch="2") == 0


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
