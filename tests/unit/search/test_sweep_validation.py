"""What cannot be searched is refused in one line with field, value and fix, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from seedbed.search.sweep_validation import require_possible_search, search_errors
from seedbed_api.errors import UserError
from unit.search.sweeps import a_parameter, a_rate, a_sweep, values

OPTIMIZERS = a_parameter(
    "optimizer",
    fieldPath="spec.training.optimizer.type",
    searchSpace={"categorical": {"values": ["SGD", "AdamW"]}},
)


def momentum(**condition: Any) -> dict[str, Any]:
    space = {"uniform": {"min": "0", "max": "0.9"}}
    return a_parameter(
        "momentum", fieldPath="spec.training.optimizer.sgd.momentum", searchSpace=space, **condition
    )


def whole(name: str, low: int, high: int, step: int = 1, **more: Any) -> dict[str, Any]:
    return a_parameter(name, searchSpace={"int": {"min": low, "max": high, "step": step}}, **more)


def halving(least: int, factor: int = 3) -> dict[str, Any]:
    return {"type": "PrefixASHA", "prefixASHA": {"reductionFactor": factor, "minEpochs": least}}


def median(least: int) -> dict[str, Any]:
    return {"type": "Median", "median": {"minEpochs": least}}


def aiming_at(target: str) -> dict[str, Any]:
    return {"metric": "validation/accuracy", "direction": "Maximize", "target": target}


GRID = {"type": "Grid"}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing to search": (
        {"parameters": []},
        "spec.parameters: leaves nothing to search (got []); add parameters or crossValidation, or write a TrainingJob",
    ),
    "a grid that does not fit": (
        {"parameters": [values("a", "1", "2", "3"), values("b", "1", "2", "3")], "algorithm": GRID},
        "spec.maxTrialCount: is less than the 9 points of the grid (got 8); set 9, or remove values",
    ),
    "a value list longer than the trials": (
        {"parameters": [values("a", *"123456789")], "algorithm": GRID},
        "spec.maxTrialCount: is less than the 9 points of the grid (got 8); set 9, or remove values",
    ),
    "a huge grid": (
        {"parameters": [whole("a", 0, 2**53 - 1), whole("b", 0, 2**53 - 1)], "algorithm": GRID},
        "spec.parameters: make a grid of more than 100000 points (got ['a', 'b']); "
        "remove values, or choose Random, Sobol or TPE",
    ),
    "a condition that is never true": (
        {"parameters": [OPTIMIZERS, momentum(when={"parameter": "optimizer", "in": ["Adam"]})]},
        "spec.parameters[1].when.in: is never a value of optimizer (got 'Adam'); did you mean AdamW?",
    ),
    "a condition between the steps of a range": (
        {"parameters": [whole("a", 1, 9, 4), values("b", "x", when={"parameter": "a", "in": ["5", "6"]})]},
        "spec.parameters[1].when.in: is never a value of a (got '6'); known are 1, 9",
    ),
    "a condition on a fraction": (
        {"parameters": [a_rate(), values("b", "x", when={"parameter": "lr", "in": ["0.1"]})]},
        "spec.parameters[1].when.parameter: names a parameter of fractions, which has no values to compare "
        "(got 'lr'); name a categorical or int parameter",
    ),
    "fractions of a whole number": (
        {
            "parameters": [
                a_parameter(
                    "warmup",
                    fieldPath="spec.training.learningRateSchedule.warmupSteps",
                    searchSpace={"uniform": {"min": "0", "max": "100"}},
                )
            ]
        },
        "spec.parameters[0].searchSpace: draws fractions for "
        "spec.training.learningRateSchedule.warmupSteps, which takes whole numbers (got 'uniform'); "
        "use int or categorical",
    ),
    "one field twice": (
        {"parameters": [a_rate(), {**a_rate(), "name": "again"}]},
        "spec.parameters[1].fieldPath: sets what lr sets too (got 'spec.training.optimizer.learningRate'); "
        "remove one of the two, or give them conditions of which never both hold",
    ),
    "a member of one type, with all types": (
        {"parameters": [OPTIMIZERS, momentum()]},
        "spec.parameters[1]: does not go with optimizer AdamW: a trial has a mistake at "
        "spec.training.optimizer.sgd: is only allowed with type SGD (got 'momentum'); "
        "add when: {parameter: optimizer, in: [SGD]}",
    ),
    "an accuracy above 1": (
        {"parameters": [a_rate()], "objective": aiming_at("98")},
        "spec.objective.target: is more than any accuracy (got '98'); use at most \"1\"",
    ),
    "a target below the start": (
        {"parameters": [a_rate()], "objective": aiming_at("0")},
        "spec.objective.target: is reached by every trial (got '0'); choose a larger one, or leave it out",
    ),
    "a first rung beyond the end": (
        {"parameters": [a_rate()], "epochs": 9, "earlyStopping": halving(9)},
        "spec.earlyStopping.prefixASHA.minEpochs: leaves no evaluation to judge at before the last epoch, 9 "
        "(got 9); choose less than 9, or a smaller evaluation.everyEpochs",
    ),
    "a median that is never taken": (
        {"parameters": [a_rate()], "epochs": 9, "every": 5, "earlyStopping": median(6)},
        "spec.earlyStopping.median.minEpochs: leaves no evaluation to judge at before the last epoch, 9 "
        "(got 6); choose less than 9, or a smaller evaluation.everyEpochs",
    ),
    "evaluations that miss the rungs": (
        {"parameters": [a_rate()], "epochs": 27, "every": 2, "earlyStopping": halving(3)},
        "spec.trialTemplate.spec.evaluation.everyEpochs: gives no evaluation at the rung of epoch 3 (got 2); "
        "set 1, or prefixASHA.minEpochs to a multiple of 2",
    ),
    "a horizon of one's own": (
        {
            "parameters": [whole("epochs", 9, 27, fieldPath="spec.training.epochs")],
            "earlyStopping": halving(1),
        },
        "spec.parameters[0].fieldPath: cannot be swept with earlyStopping, whose rungs all trials share "
        "(got 'spec.training.epochs'); remove the parameter or earlyStopping",
    ),
}
ACCEPTED: dict[str, dict[str, Any]] = {
    "plain folds of one recipe": {"parameters": [], "crossValidation": {"folds": 3}},
    "a grid that just fits": {"parameters": [values("a", *"12345678")], "algorithm": GRID},
    "what does not exist multiplies nothing": {
        "parameters": [
            values("a", "x", "y"),
            values("b", *"1234", when={"parameter": "a", "in": ["x"]}),
        ],
        "algorithm": GRID,
        "maxTrialCount": 5,
    },
    "random points of a huge space": {"parameters": [whole("a", 0, 2**53 - 1)]},
    "a field of its own range for each type": {
        "parameters": [
            OPTIMIZERS,
            {**a_rate(), "when": {"parameter": "optimizer", "in": ["SGD"]}},
            {**a_rate("1e-5", "1e-3"), "name": "slow", "when": {"parameter": "optimizer", "in": ["AdamW"]}},
            momentum(when={"parameter": "optimizer", "in": ["SGD"]}),
        ]
    },
    "a condition at the end of a chain": {
        "parameters": [
            OPTIMIZERS,
            values("a", "1", "2", when={"parameter": "optimizer", "in": ["SGD"]}),
            momentum(when={"parameter": "a", "in": ["2"]}),
        ]
    },
    "rungs at multiples of the evaluations": {
        "parameters": [a_rate()],
        "every": 2,
        "earlyStopping": halving(2),
    },
    "epochs may be swept without early stopping": {
        "parameters": [whole("epochs", 9, 27, fieldPath="spec.training.epochs")],
    },
}


@pytest.mark.parametrize(("fields", "line"), REFUSED.values(), ids=REFUSED.keys())
def test_refused(fields: dict[str, Any], line: str) -> None:
    fields = dict(fields)
    spec = a_sweep(*fields.pop("parameters"), **fields)
    assert search_errors(spec) == [line]
    with pytest.raises(UserError, match="spec") as caught:
        require_possible_search(spec)
    assert caught.value.reason == "InvalidSpec"


@pytest.mark.parametrize("fields", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepted(fields: dict[str, Any]) -> None:
    fields = dict(fields)
    assert search_errors(a_sweep(*fields.pop("parameters"), **fields)) == []
