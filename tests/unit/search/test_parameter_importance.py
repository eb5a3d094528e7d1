"""Which parameters matter: known answers, and that nothing is said where too little is known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from seedbed.search import Assignments, DecidedTrial, TrialState
from seedbed.search.parameter_importance import MIN_TRIALS, parameter_importance
from seedbed.search.samplers import create_sampler
from seedbed_api.sweepjob import SweepJobSpec
from unit.search.sweeps import a_parameter, a_rate, a_sweep, values


def a_spec(**fields: Any) -> SweepJobSpec:
    return a_sweep(
        a_rate(),
        values("net", "a", "b"),
        a_parameter("dropout", searchSpace={"uniform": {"min": "0", "max": "1"}}),
        a_parameter(
            "width",
            searchSpace={"int": {"min": 1, "max": 9}},
            when={"parameter": "net", "in": ["a"]},
        ),
        **{"maxTrialCount": 100, **fields},
    )


def rate(point: Assignments) -> float:
    return 1 / (1 + abs(float(Decimal(dict(point)["lr"]).log10()) + 2))


def network(point: Assignments) -> float:
    return 0.5 * (dict(point)["net"] == "a") + rate(point) / 100


def width(point: Assignments) -> float:
    return int(dict(point).get("width", 5)) / 10


def trials(spec: SweepJobSpec, worth: Any, count: int = 100, at: str = "end") -> list[DecidedTrial]:
    search, told = create_sampler(spec), list[DecidedTrial]()
    for index in range(count):
        point = search.propose(index, told)
        value = int(worth(point) * 10**12)
        rungs = ((1, value),) if at == "rung" else ()
        state = TrialState.PRUNED if at == "rung" else TrialState.SUCCEEDED
        told.append(DecidedTrial(index=index, assignments=point, state=state, rungs=rungs, objective=value))
    return told


@pytest.mark.parametrize(
    ("worth", "first"), [(rate, "lr"), (network, "net"), (width, "width")], ids=["lr", "net", "width"]
)
@pytest.mark.parametrize("at", ["end", "rung"])
def test_what_decides_comes_first(worth: Any, first: str, at: str) -> None:
    spec = a_spec()
    shares = parameter_importance(spec, trials(spec, worth, at=at))
    assert next(iter(shares)) == first
    assert shares[first] > 0.5
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_downwards() -> None:
    spec = a_spec(objective={"metric": "validation/loss", "direction": "Minimize"})
    shares = parameter_importance(spec, trials(spec, lambda point: 1 - rate(point)))
    assert next(iter(shares)) == "lr"


def test_too_few_trials_say_nothing() -> None:
    spec = a_spec()
    known = trials(spec, rate, MIN_TRIALS)
    assert "width" not in parameter_importance(spec, known)
    assert parameter_importance(spec, known[1:]) == {}
    assert parameter_importance(spec, []) == {}
    failed = [
        DecidedTrial(index=0, assignments=trial.assignments, state=TrialState.FAILED) for trial in known
    ]
    assert parameter_importance(spec, failed) == {}


def test_where_all_are_equal_nothing_matters() -> None:
    spec = a_spec()
    assert parameter_importance(spec, trials(spec, lambda _: 0.5)) == {}
