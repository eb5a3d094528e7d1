"""Calls and metrics of curves."""

from __future__ import annotations

import json

from seedbed.arithmetic.learning_rate import Cosine, LearningRate
from seedbed.driver.curve_store import CurveStore
from seedbed.runs.evaluation_records import save_evaluation
from seedbed.runs.ledger import LedgerBuffer, join_ledger_parts, save_segment
from seedbed.runs.run_folder import RunFolder

SCHEDULE = LearningRate(base=0.1, warmup_steps=2, decay=Cosine())

STEPS = 10

Json = dict[str, float]


def train(folder: RunFolder, first: int, stop: int) -> None:
    """Leave what a training leaves of the steps [first, stop): an evaluation every five steps, then the ledger."""
    buffer = LedgerBuffer()
    for step in range(first, stop):
        buffer.add_leaf(step, 0, rows_m=[step], digest=bytes(32))
        buffer.add_step(step, loss=1.0 / (step + 3), witness=[step])
        if (step + 1) % 5 == 0:
            evaluate(folder, "validation", step + 1)
    save_segment(folder, join_ledger_parts([buffer.drain()], first=first, leaves=1, chain_before=bytes(32)))


def evaluate(folder: RunFolder, split: str, step: int) -> None:
    document = {
        "samples": 4,
        "correct": 3,
        "loss": step,
        "lossScale": 2,
        "nonFinite": 0,
        "weightsDigest": "sha256:00",
    }
    save_evaluation(folder, split=split, step=step, document=document)


def a_call(folder: RunFolder) -> CurveStore:
    return CurveStore(folder=folder, schedule=SCHEDULE, total_steps=STEPS)


def metrics(folder: RunFolder) -> list[Json]:
    return [json.loads(line) for line in folder.objects.read("metrics.jsonl").splitlines()]
