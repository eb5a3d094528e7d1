"""The record of a sweep: what it holds, that it reads back, and that every decision in it follows from the values before."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from seedbed.runs.sweep_record import SweepRecord, parse_sweep_record, sweep_record
from seedbed.search import DecidedTrial, EndReason, Search, SweepEnd, TrialState
from seedbed.search.objective_values import Goal
from seedbed.search.sweep_identity import sweep_document, sweep_id
from seedbed.search.sweep_record_check import disagreements
from seedbed.search.tpe_sampler import numeric_probe
from seedbed.search.trial_decisions import TrialRuns
from seedbed.search.trial_ranking import best_trials, count_trials, rank_trials, trial_status
from seedbed_api.canonical_json import canonical_json
from seedbed_api.sweepjob import SweepJobSpec
from unit.search.executors import Luck, chances, in_sequence
from unit.search.sweeps import a_rate, a_sweep, values

HALVING = {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": 3, "minEpochs": 1}}
DIGEST = "sha256:" + "0" * 64


def a_spec(**fields: Any) -> SweepJobSpec:
    more = {"earlyStopping": HALVING, "maxTrialCount": 20, "maxFailedTrialCount": 20, **fields}
    return a_sweep(a_rate(), values("net", "a", "b"), epochs=9, **more)


def a_record(spec: SweepJobSpec, salt: int = 2) -> SweepRecord:
    return parse_sweep_record(in_sequence(spec, chances(salt, Luck())).record)


def disagreements_of(spec: SweepJobSpec, record: SweepRecord) -> list[str]:
    return disagreements(spec, record.trials, record.ended)


TRIALS = (
    DecidedTrial(index=0, assignments=(("lr", "0.1"),), state=TrialState.FAILED, reason="NonFiniteLoss"),
    DecidedTrial(
        index=1,
        assignments=(("lr", "0.2"),),
        state=TrialState.SUCCEEDED,
        folds=(1, 4),
        objective=2,
        deviation=2,
    ),
    DecidedTrial(
        index=2,
        assignments=(),
        state=TrialState.PRUNED,
        rungs=((1, 5),),
        folds=(5, 5),
        objective=5,
        deviation=0,
    ),
)


def test_the_bytes_are_a_golden_text() -> None:
    ended = SweepEnd(reason=EndReason.ALL_TRIED, index=2)
    trial_runs = {1: TrialRuns(run_ids=("a", "b"), weights=("c", "d"))}
    record = sweep_record(reversed(TRIALS), sweep={"seed": 1}, ended=ended, trial_runs=trial_runs)
    assert record.to_bytes().decode() == (
        '{"end":{"reason":"AllTried","trial":2},"schemaVersion":1,"sweep":{"seed":1},"trials":['
        '{"folds":[],"index":0,"parameters":[{"name":"lr","value":"0.1"}],"reason":"NonFiniteLoss",'
        '"runIDs":[],"rungs":[],"state":"Failed","weights":[]},'
        '{"deviation":"0.000000000002","folds":["0.000000000001","0.000000000004"],"index":1,'
        '"objective":"0.000000000002","parameters":[{"name":"lr","value":"0.2"}],'
        '"runIDs":["a","b"],"rungs":[],"state":"Succeeded","weights":["c","d"]},'
        '{"deviation":"0","folds":["0.000000000005","0.000000000005"],"index":2,'
        '"objective":"0.000000000005","parameters":[],"runIDs":[],'
        '"rungs":[{"epoch":1,"objective":"0.000000000005"}],"state":"Pruned","weights":[]}]}'
    )


def test_it_reads_back() -> None:
    ended = SweepEnd(reason=EndReason.UNDECIDED, index=3, detail="OutOfMemory")
    record = sweep_record(TRIALS, sweep={"seed": 1}, ended=ended, trial_runs={})
    assert parse_sweep_record(record.to_bytes()) == record
    assert (record.trials, record.ended, record.sweep) == (TRIALS, ended, {"seed": 1})


def test_trials_above_the_end_are_none_of_it() -> None:
    ended = SweepEnd(reason=EndReason.TARGET_REACHED, index=1)
    data = sweep_record(TRIALS, sweep={}, ended=ended, trial_runs={}).to_bytes()
    assert parse_sweep_record(data).trials == TRIALS[:2]


def changed(change: Callable[[dict[str, Any]], Any]) -> bytes:
    ended = SweepEnd(reason=EndReason.ALL_TRIED, index=2)
    document = json.loads(sweep_record(TRIALS, sweep={}, ended=ended, trial_runs={}).to_bytes())
    change(document)
    return canonical_json(document)


DAMAGED = {
    "no JSON": b"\xff",
    "no object": b"[]",
    "another version": changed(lambda document: document.update(schemaVersion=2)),
    "no trials": changed(lambda document: document.pop("trials")),
    "a gap": changed(lambda document: document["trials"].pop(1)),
    "an unknown state": changed(lambda document: document["trials"][0].update(state="Lost")),
    "a time": changed(lambda document: document["trials"][0].update(time="12:00")),
    "a number that could be shorter": changed(lambda document: document["trials"][1].update(objective="2.0")),
    "no number": changed(lambda document: document["trials"][1].update(objective="two")),
    "no string": changed(lambda document: document["trials"][1].update(objective=2)),
    "blanks": b" " + changed(lambda document: None),
    "a trial above the end": changed(lambda document: document["end"].update(trial=1)),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED.keys())
def test_what_is_no_record_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(ValueError, match="not the record of a sweep") as error:
        parse_sweep_record(data)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("salt", range(4))
@pytest.mark.parametrize("folds", [None, {"folds": 3}], ids=["one run", "three folds"])
def test_every_decision_follows_from_the_record(salt: int, folds: dict[str, int] | None) -> None:
    spec = a_spec(crossValidation=folds)
    assert disagreements_of(spec, a_record(spec, salt)) == []


def test_a_record_that_was_bent_is_found() -> None:
    spec = a_spec()
    record = a_record(spec)
    pruned = next(trial for trial in record.trials if trial.state is TrialState.PRUNED)
    other_value = replace(pruned, rungs=((1, pruned.rungs[0][1] + 10**12),))
    other_point = replace(pruned, assignments=(("lr", "0.1"), ("net", "a")))
    kept_on = replace(pruned, state=TrialState.SUCCEEDED)
    for bent in (other_value, other_point, kept_on):
        trials = tuple(bent if trial.index == bent.index else trial for trial in record.trials)
        assert len(disagreements_of(spec, replace(record, trials=trials))) > 0
    early = SweepEnd(reason=EndReason.TARGET_REACHED, index=record.ended.index)
    assert len(disagreements_of(spec, replace(record, ended=early))) == 1


def test_rank_is_by_objective_then_index() -> None:
    trials = [
        DecidedTrial(index=index, assignments=(), state=TrialState.SUCCEEDED, objective=value)
        for index, value in ((2, 7), (0, 5), (1, 7), (3, 0))
    ]
    pruned = DecidedTrial(index=4, assignments=(), state=TrialState.PRUNED, objective=9)
    best_first = [trial.index for trial in rank_trials([*trials, pruned], Goal(maximize=True))]
    assert best_first == [1, 2, 0, 3]
    assert [trial.index for trial in rank_trials(trials, Goal(maximize=False))] == [3, 0, 1, 2]


def test_the_status_has_at_most_twenty_rows() -> None:
    trials = [
        DecidedTrial(index=index, assignments=(), state=TrialState.SUCCEEDED, objective=index)
        for index in range(50)
    ]
    assert [trial.index for trial in best_trials(trials, Goal(maximize=True))] == list(range(49, 29, -1))


def test_counts_of_the_status() -> None:
    found = count_trials(TRIALS, running=2, reused=1).plain()
    assert found == {"total": 5, "running": 2, "succeeded": 1, "pruned": 1, "failed": 1, "reused": 1}


def test_a_row_of_the_status() -> None:
    row = trial_status(TRIALS[1], run_id=DIGEST).plain()
    assert row == {
        "index": 1,
        "runID": DIGEST,
        "objective": "0.000000000002",
        "parameters": [{"name": "lr", "value": "0.2"}],
    }


def test_the_search_counts_no_trial_above_its_end() -> None:
    objective = {"metric": "validation/accuracy", "direction": "Maximize", "target": "0.4"}
    search = Search(a_spec(objective=objective, earlyStopping=None))
    from seedbed.search import Finished, LearningCurve

    for index in (2, 1):
        search.record_trial(index, [LearningCurve(end=Finished(value=10**12))])
    assert [trial.index for trial in search.trials] == [1, 2]
    assert [task.index for task in search.tasks()] == [0]
    search.record_trial(0, [LearningCurve(end=Finished(value=0))])
    assert search.ended == SweepEnd(reason=EndReason.TARGET_REACHED, index=1)
    assert [trial.index for trial in search.trials] == [0, 1]


def identity(spec: SweepJobSpec) -> str:
    document = sweep_document(spec, dataset_digest=DIGEST, arithmetic_version=1, environment_class="x")
    return sweep_id(document)


def test_the_identity_is_what_decides() -> None:
    spec = a_spec()
    same = [a_spec(parallelTrialCount=4), a_spec(output={"uri": "elsewhere"}), a_spec(suspend=True)]
    other = [
        a_spec(maxTrialCount=21),
        a_spec(maxFailedTrialCount=1),
        a_spec(algorithm={"type": "Random", "seed": 1}),
        a_spec(algorithm={"type": "TPE"}),
        a_spec(crossValidation={"folds": 3}),
        a_spec(earlyStopping=None),
    ]
    assert {identity(entry) for entry in same} == {identity(spec)}
    assert len({identity(entry) for entry in [spec, *other]}) == len(other) + 1


def test_a_sweep_by_tpe_names_what_its_proposals_depend_on() -> None:
    document = sweep_document(
        a_spec(algorithm={"type": "TPE"}), dataset_digest=DIGEST, arithmetic_version=1, environment_class="x"
    )
    assert document["search"].keys() == {"version", "optuna", "probe"}
    assert numeric_probe() == document["search"]["probe"]
