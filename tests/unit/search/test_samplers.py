"""What trials try: golden values, and the properties by which points may be looked up and asked for in any order."""

from __future__ import annotations

import random
import re
from collections import Counter
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from seedbed.search import Assignments, DecidedTrial, TrialState
from seedbed.search.samplers import create_sampler
from seedbed.search.search_space import random_bits, value_at
from seedbed.search.sobol_sampler import BITS, scramble, sobol_coordinate
from seedbed_api.decimal_strings import PATTERN, canonical
from seedbed_api.sweepjob import SearchSpace, SweepJobSpec
from seedbed_api.trial_recipe import trial_recipe
from unit.search.sweeps import a_parameter, a_rate, a_sweep, values

HIGHEST = 2**64 - 1


def space(**member: Any) -> SearchSpace:
    return SearchSpace.model_validate(member)


def a_wide_sweep(algorithm: str, **fields: Any) -> SweepJobSpec:
    return a_sweep(
        a_rate(),
        values("net", "a", "b", "c"),
        a_parameter(
            "width",
            searchSpace={"int": {"min": 8, "max": 64, "step": 8}},
            when={"parameter": "net", "in": ["a", "b"]},
        ),
        values("deep", "x", "y", when={"parameter": "width", "in": ["8", "16"]}),
        a_parameter("dropout", searchSpace={"uniform": {"min": "0", "max": "0.5"}}),
        algorithm={"type": algorithm, "seed": 7},
        **{"maxTrialCount": 64, **fields},
    )


def points(spec: SweepJobSpec) -> list[Assignments]:
    search = create_sampler(spec)
    return [search.propose(index, ()) for index in range(search.total)]


ENDS: dict[str, tuple[SearchSpace, str, str, str]] = {
    "a rate": (space(logUniform={"min": "1e-4", "max": "1e-1"}), "0.0001", "0.0031623", "0.1"),
    "small": (space(logUniform={"min": "1e-99", "max": "1e-90"}), "1e-99", "3.1623e-95", "1e-90"),
    "large": (space(logUniform={"min": "1", "max": "1e10"}), "1", "100000", "1e10"),
    "a share": (space(uniform={"min": "0", "max": "0.95"}), "0", "0.475", "0.95"),
    "a narrow range": (space(uniform={"min": "0.5", "max": "0.50001"}), "0.5", "0.500005", "0.50001"),
    "long bounds": (
        space(uniform={"min": "0.123456789012", "max": "1.123456789012"}),
        "0.1235",
        "0.6235",
        "1.123456789012",
    ),
    "bounds of many digits": (
        space(uniform={"min": "999999999.123456789011", "max": "999999999.123456789012"}),
        "999999999.123456789011",
        "999999999.123456789012",
        "999999999.123456789012",
    ),
    "whole numbers": (space(int={"min": 3, "max": 10, "step": 3}), "3", "6", "9"),
    "the largest whole numbers": (
        space(int={"min": 0, "max": 2**53 - 1}),
        "0",
        str(2**52),
        str(2**53 - 1),
    ),
    "some values": (space(categorical={"values": ["a", "b", "c"]}), "a", "b", "c"),
}


@pytest.mark.parametrize(("where", "low", "middle", "high"), ENDS.values(), ids=ENDS.keys())
def test_the_ends_and_the_middle_of_a_space(where: SearchSpace, low: str, middle: str, high: str) -> None:
    assert [value_at(where, bits) for bits in (0, 2**63, HIGHEST)] == [low, middle, high]


NUMBERS = st.decimals("1e-12", "999999999", places=12).map(lambda number: canonical(f"{number:f}"))


@given(st.tuples(NUMBERS, NUMBERS), st.integers(0, HIGHEST), st.booleans())
def test_fractions_are_canonical_and_within_their_range(
    ends: tuple[str, str], bits: int, logarithmic: bool
) -> None:
    low, high = sorted(ends, key=Decimal)
    if low == high:
        return
    member = "logUniform" if logarithmic else "uniform"
    value = value_at(space(**{member: {"min": low, "max": high}}), bits)
    assert Decimal(low) <= Decimal(value) <= Decimal(high)
    assert re.fullmatch(PATTERN, value)
    assert canonical(value) == value
    if value not in (low, high):
        assert len(value.replace("0.", "").replace(".", "").lstrip("0")) <= 13


GOLDEN = {
    "Random": [
        (("lr", "0.0021893"), ("net", "a"), ("width", "8"), ("deep", "y"), ("dropout", "0.08117")),
        (("lr", "0.00038608"), ("net", "a"), ("width", "32"), ("dropout", "0.04174")),
    ],
    "Sobol": [
        (("lr", "0.00013554"), ("net", "c"), ("dropout", "0.1497")),
        (("lr", "0.001694"), ("net", "a"), ("width", "64"), ("dropout", "0.02479")),
    ],
}


def test_proposals_are_golden() -> None:
    """A change of these is a change of every sweep: raise SEARCH_VERSION."""
    found = {algorithm: points(a_wide_sweep(algorithm))[1:3] for algorithm in ("Random", "Sobol")}
    assert found == GOLDEN


@pytest.mark.parametrize("algorithm", ["Random", "Sobol", "TPE"])
def test_every_point_makes_a_recipe_and_the_seed_counts(algorithm: str) -> None:
    spec = a_wide_sweep(algorithm, maxTrialCount=8)
    for point in points(spec):
        trial_recipe(spec, dict(point))
        names = [name for name, _ in point]
        assert ("width" in names) == (dict(point)["net"] in "ab")
        assert ("deep" in names) == (dict(point).get("width") in ("8", "16"))
    other = spec.model_copy(update={"algorithm": spec.algorithm.model_copy(update={"seed": 8})})
    assert points(spec) == points(spec)
    assert points(spec) != points(other)


@pytest.mark.parametrize("algorithm", ["Random", "Sobol", "Grid"])
def test_points_may_be_asked_for_in_any_order(algorithm: str) -> None:
    spec = a_sweep(*map(values, "abc", "123", "456"), algorithm={"type": algorithm}, maxTrialCount=2)
    expected, search = points(spec), create_sampler(spec)
    order = list(range(search.total))
    random.Random(0).shuffle(order)
    assert {index: search.propose(index, ()) for index in order} == dict(enumerate(expected))


def test_a_parameter_more_moves_no_other_value() -> None:
    small = a_sweep(a_rate(), values("net", "a", "b"))
    large = a_sweep(values("more", "x", "y"), values("net", "a", "b"), a_rate())
    for before, after in zip(points(small), points(large), strict=True):
        assert dict(before).items() <= dict(after).items()


def test_a_value_more_moves_only_those_that_get_it() -> None:
    before = points(a_sweep(values("net", "a", "b", "c"), maxTrialCount=300))
    after = points(a_sweep(values("net", "a", "d", "b", "c"), maxTrialCount=300))
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert set(changed) == {(("net", "d"),)}
    assert 45 < len(changed) < 105
    assert min(Counter(after).values()) > 45


def test_without_parameters_there_is_one_trial() -> None:
    for algorithm in ("Random", "Grid", "Sobol", "TPE"):
        spec = a_sweep(algorithm={"type": algorithm}, crossValidation={"folds": 3})
        assert points(spec) == [()]


def test_a_grid_is_the_cross_product_of_what_exists() -> None:
    spec = a_sweep(
        values("a", "x", "y"),
        values("b", "1", "2", when={"parameter": "a", "in": ["x"]}),
        a_parameter("c", searchSpace={"int": {"min": 1, "max": 5, "step": 4}}),
        algorithm={"type": "Grid"},
        maxTrialCount=100,
    )
    assert points(spec) == [
        (("a", "x"), ("b", "1"), ("c", "1")),
        (("a", "x"), ("b", "1"), ("c", "5")),
        (("a", "x"), ("b", "2"), ("c", "1")),
        (("a", "x"), ("b", "2"), ("c", "5")),
        (("a", "y"), ("c", "1")),
        (("a", "y"), ("c", "5")),
    ]


def test_a_value_more_adds_points_to_a_grid_and_takes_none() -> None:
    small = a_sweep(values("a", "0", "1"), values("b", "2", "3"), algorithm={"type": "Grid"}, maxTrialCount=9)
    larger = a_sweep(
        values("a", "0", "1", "5"),
        values("b", "2", "3", "4"),
        algorithm={"type": "Grid"},
        maxTrialCount=9,
    )
    assert set(points(small)) < set(points(larger))
    assert (len(points(small)), len(points(larger))) == (4, 9)


def test_sobol_is_that_of_joe_and_kuo() -> None:
    """Scipy's own, unscrambled, is the reference: all dimensions, and far along."""
    engine = qmc.Sobol(32, scramble=False, bits=BITS)
    for first in (0, 4095, 99_000):
        engine.reset()
        if first:
            engine.fast_forward(first)
        for index, row in enumerate(engine.random(64), start=first):
            assert [sobol_coordinate(index, dimension) for dimension in range(32)] == [
                round(share * 2**BITS) for share in row
            ]


def test_scrambling_keeps_what_is_even() -> None:
    """Of the first 2^k trials each stretch of 2^-k holds one, and each square of equal area in two dimensions."""
    ones = [scramble(sobol_coordinate(index, 0), 5, "a") for index in range(256)]
    twos = [scramble(sobol_coordinate(index, 1), 5, "b") for index in range(256)]
    assert len({value >> (BITS - 8) for value in ones}) == len({value >> (BITS - 8) for value in twos}) == 256
    squares = {(one >> (BITS - 4), two >> (BITS - 4)) for one, two in zip(ones, twos, strict=True)}
    assert len(squares) == 256
    assert ones != [sobol_coordinate(index, 0) for index in range(256)]


def test_words_are_even_and_apart() -> None:
    words = [random_bits("test", 0, index) for index in range(1000)]
    assert len(set(words)) == 1000
    assert 400 < sum(value < 2**63 for value in words) < 600
    assert random_bits("test", 1, 11) != random_bits("test", 11, 1)


def told_by(spec: SweepJobSpec, count: int, state: TrialState = TrialState.SUCCEEDED) -> list[DecidedTrial]:
    """Tell results that are better the closer the rate is to 0.01."""
    search, told = create_sampler(spec), list[DecidedTrial]()
    for index in range(count):
        point = search.propose(index, told)
        distance = abs(Decimal(dict(point)["lr"]).log10() + 2)
        value = None if state is TrialState.FAILED else int(10**12 / (1 + distance))
        rungs = () if value is None else ((1, value),)
        told.append(DecidedTrial(index=index, assignments=point, state=state, objective=value, rungs=rungs))
    return told


def test_tpe_asks_for_generations_and_learns() -> None:
    spec = a_wide_sweep("TPE", maxTrialCount=60)
    told = told_by(spec, 60)
    means = [sum(trial.objective or 0 for trial in part) for part in (told[:16], told[-16:])]
    assert means[1] > means[0] * 1.2
    search = create_sampler(spec)
    assert [search.trials_needed(index) for index in (0, 7, 8, 59)] == [0, 0, 8, 56]
    for index in (59, 33, 16, 40):  # whatever it was asked before
        assert search.propose(index, told) == told[index].assignments


def test_tpe_learns_from_what_was_ended_early_and_not_from_failures() -> None:
    spec = a_wide_sweep("TPE", maxTrialCount=24)
    by_chance = points(a_wide_sweep("Random", maxTrialCount=24))
    assert [trial.assignments for trial in told_by(spec, 24, TrialState.FAILED)] == by_chance
    pruned = [trial.assignments for trial in told_by(spec, 24, TrialState.PRUNED)]
    assert pruned[:16] == by_chance[:16]
    assert pruned[16:] != by_chance[16:]


def test_tpe_needs_what_came_before() -> None:
    with pytest.raises(AssertionError):
        create_sampler(a_wide_sweep("TPE")).propose(8, ())
