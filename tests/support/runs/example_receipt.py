"""A run as its receipt has it: what was decided, and one execution."""

from __future__ import annotations

from seedbed.receipts import Decided, Execution
from seedbed_api.run_identity import run_id

HEX = "0123456789abcdef" * 4
DATASET, WEIGHTS = "sha256:" + "d" * 64, "sha256:" + "f" * 64
RECIPE = {"dataset": {"digest": DATASET}, "training": {"epochs": 2, "optimizer": {"learningRate": "0.1"}}}
CLASS = "sha256:" + "e" * 64

DECIDED = Decided(
    run_id=run_id(RECIPE, arithmetic_version=1, environment_class=CLASS),
    recipe=RECIPE,
    leaves=8,
    leaf_rows=16,
    arithmetic_version=1,
    environment_class=CLASS,
    dataset_digest=DATASET,
    code_digest="sha256:" + "c" * 64,
    subjects={"model/model.safetensors": HEX, "model/config.json": HEX[::-1]},
    total_steps=20,
    ledger_chain="b" * 64,
    weights_digest=WEIGHTS,
    checkpoints=((10, "sha256:" + "a" * 64), (20, WEIGHTS)),
    metrics={"test/accuracy": "0.98", "test/loss": "0.05", "test/correct": 980},
)
EXECUTION = Execution(
    started_on="2026-11-21T02:00:00Z",
    finished_on="2026-11-21T02:05:00Z",
    version="0.1.0",
    attempts=2,
    workers=(1, 2),
    dataset_uri="s3://datasets/digits",
    dependencies={"lock": "sha256:" + "9" * 64, "image": "sha256:" + "8" * 64},
    details={"feed": "RayData"},
)
