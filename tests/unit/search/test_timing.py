"""Timing never shows: whatever comes in first, decisions, winner and the bytes of the record are the same.

And the check of this check: rules that look at whoever happens to have come so far are caught.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.runs.sweep_record import parse_sweep_record
from seedbed.search import Search
from seedbed.search.pruners import RungComparison, RungTable
from seedbed.search.sweep_record_check import disagreements
from seedbed_api.sweepjob import SweepJobSpec
from unit.search.executors import Executor, Luck, SearchOutcome, chances, in_sequence
from unit.search.sweeps import a_rate, a_sweep, values

STOPPERS: dict[str, dict[str, Any] | None] = {
    "no early stopping": None,
    "prefix ASHA": {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}},
    "prefix ASHA by halves": {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 2, "minEpochs": 2}},
    "median": {"type": "Median", "median": {"minEpochs": 2, "minTrials": 3}},
}
ALGORITHMS = ("Random", "Grid", "Sobol")


def a_search(algorithm: str, stopper: str, **fields: Any) -> SweepJobSpec:
    options = [str(number) for number in range(6)]
    parameters = [
        values("net", "a", "b"),
        values("width", *options, when={"parameter": "net", "in": ["a"]}),
        values("depth", *options),
    ]
    if algorithm != "Grid":
        parameters.append(a_rate())
    return a_sweep(
        *parameters,
        epochs=9,
        algorithm={"type": algorithm},
        maxTrialCount=fields.pop("maxTrialCount", 24),
        earlyStopping=STOPPERS[stopper],
        **{"maxFailedTrialCount": 100, **fields},
    )


def shuffled(spec: SweepJobSpec, oracle: Any, seed: int, slots: int, **more: Any) -> SearchOutcome:
    draw = random.Random(seed)
    return Executor(spec=spec, oracle=oracle, slots=slots, choose=draw.randrange, **more).run()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    algorithm=st.sampled_from(ALGORITHMS),
    stopper=st.sampled_from(sorted(STOPPERS)),
    salt=st.integers(0, 2**32),
    order=st.integers(0, 2**32),
    slots=st.integers(1, 8),
    folds=st.sampled_from([None, 2, 3]),
    most_failed=st.sampled_from([0, 2, 100]),
    target=st.sampled_from([None, "0.500000000005", "0.500000000004"]),
    ahead=st.sampled_from([0, 30]),
    kills=st.sampled_from([0, 5]),
    lost=st.sampled_from([0, 0, 3]),
)
def test_every_order_gives_the_same_record(
    algorithm: str,
    stopper: str,
    salt: int,
    order: int,
    slots: int,
    folds: int | None,
    most_failed: int,
    target: str | None,
    ahead: int,
    kills: int,
    lost: int,
) -> None:
    objective = {"metric": "validation/accuracy", "direction": "Maximize", "target": target}
    validation = None if folds is None else {"folds": folds}
    spec = a_search(
        algorithm,
        stopper,
        objective=objective,
        crossValidation=validation,
        maxFailedTrialCount=most_failed,
    )
    oracle = chances(salt, Luck(is_lost=lost))
    expected = in_sequence(spec, oracle)
    other = shuffled(spec, oracle, order, slots, ahead=ahead, kills=kills)
    assert other.record == expected.record
    assert other.ended == expected.ended
    record = parse_sweep_record(other.record)
    assert disagreements(spec, record.trials, record.ended) == []


@pytest.mark.parametrize("stopper", ["no early stopping", "prefix ASHA"])
def test_what_tpe_learns_does_not_depend_on_the_order_of_arrival(stopper: str) -> None:
    spec = a_search("Random", stopper, maxTrialCount=18).model_copy(
        update={"algorithm": a_sweep(algorithm={"type": "TPE", "tpe": {"generationSize": 6}}).algorithm}
    )
    oracle = chances(5, Luck())
    expected = in_sequence(spec, oracle)
    assert len(expected.decided) == 18
    for slots in (2, 5):
        assert shuffled(spec, oracle, slots, slots, kills=5).record == expected.record


class JudgesAgainstAllThatCame(RungTable):
    """Asynchronous ASHA: whoever has reached the rung so far, of higher index too."""

    def compare(self, index: int, rung: int) -> RungComparison:
        own = int(self._column(rung)[index])
        keys = self._column(rung)[self._there[rung]]
        better, worse = int((keys < own).sum()), int((keys > own).sum())
        return RungComparison(better=better, equal=len(keys) - better - worse - 1, worse=worse, unknown=0)


class DoesNotWait(RungTable):
    """Only lower ones, but none that has not come yet."""

    def compare(self, index: int, rung: int) -> RungComparison:
        known = super().compare(index, rung)
        return RungComparison(better=known.better, equal=known.equal, worse=known.worse, unknown=0)


MUTANTS = {
    "asynchronous ASHA": JudgesAgainstAllThatCame,
    "judges before the lower ones have come": DoesNotWait,
}


@pytest.mark.parametrize("stopper", ["prefix ASHA", "median"])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_rule_that_looks_at_who_came_first_is_caught(mutant: str, stopper: str) -> None:
    def made(spec: SweepJobSpec) -> Search:
        search = Search(spec)
        search._rungs = MUTANTS[mutant]()
        return search

    spec = a_search("Random", stopper)
    caught = sum(
        shuffled(spec, oracle, order, 4, make=made).record != in_sequence(spec, oracle, make=made).record
        for order, oracle in ((salt, chances(salt, Luck())) for salt in range(12))
    )
    assert caught > 0


def test_an_end_by_the_first_that_arrives_is_caught() -> None:
    """The target is reached by several: with the first to arrive as the winner, orders would disagree."""
    objective = {"metric": "validation/accuracy", "direction": "Maximize", "target": "0.500000000003"}
    spec, oracle = a_search("Random", "no early stopping", objective=objective), chances(1, Luck())
    arrivals = {_first_to_reach(spec, oracle, order) for order in range(12)}
    assert len(arrivals) > 1
    assert {shuffled(spec, oracle, order, 4).ended.index for order in range(12)} == {min(arrivals)}


def _first_to_reach(spec: SweepJobSpec, oracle: Any, order: int) -> int:
    search, first = Search(spec), []

    def spying(made: SweepJobSpec) -> Search:
        record = search.record_trial

        def told(index: int, folds: Any) -> None:
            record(index, folds)
            trial = search.decided.get(index)
            if (
                not first
                and trial
                and trial.objective is not None
                and search.goal.is_reached_by(trial.objective)
            ):
                first.append(index)

        search.record_trial = told  # type: ignore[method-assign]
        return search

    shuffled(spec, oracle, order, 4, make=spying)
    return first[0]


def test_what_is_not_needed_is_not_trained() -> None:
    """Each trial that was ended early stops at its rung, and none is begun above the one that ends the sweep."""
    spec = a_search("Random", "prefix ASHA", maxTrialCount=40)
    outcome = in_sequence(spec, chances(3, Luck(fails=0, stops_by_itself=0)))
    epochs = sorted(outcome.trained.values())
    assert set(epochs) == {1, 3, 9}
    assert epochs.count(9) < 40 / 3
