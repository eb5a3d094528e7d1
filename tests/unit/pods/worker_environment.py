"""The environment of a worker pod."""

from __future__ import annotations

import json
from typing import Any

JOB: dict[str, Any] = {
    "apiVersion": "seedbed.dev/v1alpha1",
    "kind": "TrainingJob",
    "metadata": {"name": "digits", "namespace": "team-a", "uid": "1234"},
    "spec": {
        "dataset": {"uri": "s3://data/digits"},
        "model": {"name": "simple-cnn"},
        "training": {
            "steps": 1,
            "seed": 1,
            "batch": {"globalSize": 8, "microSize": 8},
            "optimizer": {"type": "SGD", "learningRate": "0.1"},
            "augmentation": [{"type": "Resize", "resize": {"size": 16}}],
        },
        "output": {"uri": "s3://runs"},
    },
}

DRIVER = {
    "SEEDBED_ROLE": "driver",
    "SEEDBED_JOB": json.dumps(JOB),
    "SEEDBED_ATTEMPT": "2",
    "SEEDBED_RAY_MODE": "head",
    "POD_NAME": "digits-2-driver",
    "POD_IP": "10.0.0.7",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "secret",
}

WORKER = {
    **DRIVER,
    "SEEDBED_ROLE": "worker",
    "SEEDBED_RAY_MODE": "join",
    "SEEDBED_RAY_ADDRESS": "digits-2-head:6379",
    "SEEDBED_RANKS": "4",
    "SEEDBED_GPUS": "1",
    "SEEDBED_DEVICE": "cuda",
    "POD_NAME": "digits-2-worker-0",
}
