"""Which parameters matter: known answers, and that nothing is said where too little is known."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from seedbed.search import Decided, Point, State
from seedbed.search.parameter_importance import FEWEST, importance
from seedbed.search.samplers import proposer
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


def rate(point: Point) -> float:
    return 1 / (1 + abs(float(Decimal(dict(point)["lr"]).log10()) + 2))


def network(point: Point) -> float:
    return 0.5 * (dict(point)["net"] == "a") + rate(point) / 100


def width(point: Point) -> float:
    return int(dict(point).get("width", 5)) / 10


def trials(spec: SweepJobSpec, worth: Any, count: int = 100, at: str = "end") -> list[Decided]:
    search, told = proposer(spec), list[Decided]()
    for index in range(count):
        point = search.propose(index, told)
        value = int(worth(point) * 10**12)
        rungs = ((1, value),) if at == "rung" else ()
        state = State.PRUNED if at == "rung" else State.SUCCEEDED
        told.append(Decided(index=index, point=point, state=state, rungs=rungs, objective=value))
    return told


@pytest.mark.parametrize(
    ("worth", "first"), [(rate, "lr"), (network, "net"), (width, "width")], ids=["lr", "net", "width"]
)
@pytest.mark.parametrize("at", ["end", "rung"])
def test_what_decides_comes_first(worth: Any, first: str, at: str) -> None:
    spec = a_spec()
    shares = importance(spec, trials(spec, worth, at=at))
    assert next(iter(shares)) == first
    assert shares[first] > 0.5
    assert sum(shares.values()) == pytest.approx(1)
    assert list(shares.values()) == sorted(shares.values(), reverse=True)


def test_downwards() -> None:
    spec = a_spec(objective={"metric": "validation/loss", "direction": "Minimize"})
    shares = importance(spec, trials(spec, lambda point: 1 - rate(point)))
    assert next(iter(shares)) == "lr"


def test_too_few_trials_say_nothing() -> None:
    spec = a_spec()
    known = trials(spec, rate, FEWEST)
    assert "width" not in importance(spec, known)
    assert importance(spec, known[1:]) == {}
    assert importance(spec, []) == {}
    failed = [Decided(index=0, point=trial.point, state=State.FAILED) for trial in known]
    assert importance(spec, failed) == {}


def test_where_all_are_equal_nothing_matters() -> None:
    spec = a_spec()
    assert importance(spec, trials(spec, lambda _: 0.5)) == {}
