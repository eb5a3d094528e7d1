"""Valid manifests of each kind, and changes of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

DIGEST = "sha256:" + "0" * 64

TRAINING_JOB: dict[str, Any] = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "small"},
    "spec": {
        "dataset": {"uri": "s3://datasets/small"},
        "model": {"name": "simple-cnn"},
        "training": {"epochs": 3, "optimizer": {"type": "SGD", "learningRate": "0.1"}},
        "output": {"uri": "s3://runs"},
    },
}
SWEEP_JOB: dict[str, Any] = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "SweepJob",
    "metadata": {"name": "sweep"},
    "spec": {
        "objective": {"metric": "validation/accuracy", "direction": "Maximize"},
        "algorithm": {"type": "Random"},
        "parameters": [
            {
                "name": "lr",
                "fieldPath": "spec.training.optimizer.learningRate",
                "searchSpace": {"logUniform": {"min": "1e-4", "max": "0.1"}},
            },
            {
                "name": "net",
                "fieldPath": "spec.model.name",
                "searchSpace": {"categorical": {"values": ["simple-cnn", "resnet18"]}},
            },
            {
                "name": "width",
                "modelArg": "width",
                "searchSpace": {"categorical": {"values": ["32", "64"]}},
                "when": {"parameter": "net", "in": ["simple-cnn"]},
            },
        ],
        "trialTemplate": {
            "spec": {name: TRAINING_JOB["spec"][name] for name in ("dataset", "model", "training")},
        },
        "maxTrialCount": 10,
        "output": {"uri": "s3://runs"},
    },
}
PROFILE: dict[str, Any] = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingProfile",
    "metadata": {"name": "gpu"},
    "spec": {"image": "registry.example/seedbed@" + DIGEST},
}
BASES = {"TrainingJob": TRAINING_JOB, "SweepJob": SWEEP_JOB, "TrainingProfile": PROFILE}


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """A change of a valid manifest and what is said to it."""

    kind: str = "TrainingJob"
    change: dict[str, Any] = field(default_factory=dict)
    line: str | None = None
    server: str | None = None
    server_accepts: bool = False

    def manifest(self) -> dict[str, Any]:
        """Return the changed manifest."""
        document = copy.deepcopy(BASES[self.kind])
        for path, value in self.change.items():
            place: Any = document
            *parents, name = path.split(".")
            for parent in parents:
                place = place[int(parent)] if parent.isdecimal() else place.setdefault(parent, {})
            if value is None:
                del place[name]
            else:
                place[int(name) if name.isdecimal() else name] = value
        return document
