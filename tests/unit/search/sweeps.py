"""Builders of sweeps for the tests."""

from __future__ import annotations

from typing import Any

from seedbed_api.sweepjob import SweepJobSpec

RATE = {"fieldPath": "spec.training.optimizer.learningRate"}


def a_parameter(name: str = "lr", **fields: Any) -> dict[str, Any]:
    """Return a parameter; without a place it is an argument of the model."""
    place = {} if "fieldPath" in fields else {"modelArg": name}
    return {"name": name, **place, **fields}


def a_rate(low: str = "1e-4", high: str = "1e-1") -> dict[str, Any]:
    return {"name": "lr", **RATE, "searchSpace": {"logUniform": {"min": low, "max": high}}}


def values(name: str, *options: str, when: dict[str, Any] | None = None) -> dict[str, Any]:
    condition = {} if when is None else {"when": when}
    return a_parameter(name, searchSpace={"categorical": {"values": list(options)}}, **condition)


def a_sweep(*parameters: dict[str, Any], epochs: int = 27, every: int = 1, **fields: Any) -> SweepJobSpec:
    """Return a sweep over the parameters; fields replace those of the spec."""
    recipe = {
        "dataset": {"uri": "data"},
        "model": {"name": "simple-cnn"},
        "training": {"epochs": epochs, "optimizer": {"type": "SGD", "learningRate": "0.1"}},
        "evaluation": {"everyEpochs": every},
    }
    spec = {
        "objective": {"metric": "validation/accuracy", "direction": "Maximize"},
        "algorithm": {"type": "Random"},
        "parameters": list(parameters),
        "trialTemplate": {"spec": recipe},
        "maxTrialCount": 8,
        "output": {"uri": "runs"},
        **fields,
    }
    return SweepJobSpec.model_validate(spec)
