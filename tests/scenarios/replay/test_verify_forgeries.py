"""Verification of a run whose stored objects were forged consistently: it names the step, the leaf and the object."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seedbed.arithmetic.optimizer_step
from scenarios.replay.verdicts import STOPPING, verdict_of
from seedbed.feed.sample_stream import SampleStream
from seedbed.order import BatchPlan
from seedbed.receipts import Execution, statement, to_bytes
from seedbed_api.errors import UserError
from seedbed_api.run_identity import run_id
from support.runs.small_run import a_manifest, claim_of, train_run

FIRST = "conv1.weight"


def forged_checkpoint(run: Path, step: int, tensor: str) -> None:
    """Flip a bit of a tensor in a kept checkpoint, and fit blob and record to it."""
    from seedbed.runs import load_checkpoint, read_evaluations, save_checkpoint
    from seedbed.runs.checkpoint_store import checkpoint_record
    from support.runs.small_run import folder_of

    folder = folder_of(run)
    record, tensors = load_checkpoint(folder, step)
    tensors[tensor].view(np.int32).reshape(-1)[0] ^= 1 << 20
    (run / f"checkpoints/{step}.json").unlink()
    forged = checkpoint_record(
        tensors,
        run_id=record.run_id,
        trajectory_id=record.trajectory_id,
        step=step,
        ledger_chain=bytes.fromhex(record.ledger_chain),
        evaluations=read_evaluations(folder, split="validation"),
    )
    save_checkpoint(folder, forged, tensors)


@pytest.mark.parametrize(
    ("tensor", "first", "step", "kind", "named"),
    [
        pytest.param("model.head.bias", 0, 3, "checkpoint", "model.head.bias", id="weights, reconciler by"),
        pytest.param("model.head.bias", 3, 3, "tensor", "head.bias", id="weights, beginning there"),
        pytest.param("optimizer.momentum.head.bias", 0, 3, "checkpoint", "optimizer.momentum.head.bias", id="momentum, reconciler by"),
        pytest.param("optimizer.momentum.head.bias", 3, 4, "tensor", "head.bias", id="momentum, beginning there"),
    ],
)  # fmt: skip
def test_a_forged_checkpoint_is_found(
    run: Path, tensor: str, first: int, step: int, kind: str, named: str
) -> None:
    forged_checkpoint(run, 3, tensor)
    difference = verdict_of(run, first, 8).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step, kind, named)


@pytest.mark.parametrize(
    ("step", "tensor"),
    [(0, "conv2.weight"), (2, "norm1.running_mean"), (5, "head.bias"), (7, "conv1.weight")],
)
def test_one_bit_of_one_weight_is_named(
    finished: Path, monkeypatch: pytest.MonkeyPatch, step: int, tensor: str
) -> None:
    honest = seedbed.arithmetic.optimizer_step._update

    def perturbed(replica, mean, *, rate: float, step: int):
        scalars = honest(replica, mean, rate=rate, step=step)
        if step == at:
            with torch.no_grad():
                lanes = replica.named_weights()[tensor].view(torch.int32)
                lanes[(0,) * lanes.dim()] ^= 1
        return scalars

    at = step
    monkeypatch.setattr(seedbed.arithmetic.optimizer_step, "_update", perturbed)
    difference = verdict_of(finished).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step + 1, "tensor", tensor)
    assert difference.line == f"step {step + 1}: tensor {tensor} differs after the update"


@pytest.mark.parametrize("step", [0, 6])
def test_another_learning_rate_is_found_at_its_step(
    finished: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    honest = seedbed.arithmetic.optimizer_step.learning_rate
    monkeypatch.setattr(
        seedbed.arithmetic.optimizer_step,
        "learning_rate",
        lambda rule, at, total: honest(rule, at, total) * (1.0001 if at == step else 1.0),
    )
    difference = verdict_of(finished).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step + 1, "tensor", FIRST)


@pytest.mark.parametrize(("step", "leaf"), [(0, 0), (7, 3)])
def test_a_swapped_row_is_found_at_its_leaf(
    finished: Path, monkeypatch: pytest.MonkeyPatch, step: int, leaf: int
) -> None:
    honest = BatchPlan.rows

    def swapped(plan: BatchPlan, at: int, of: int):
        rows = honest(plan, at, of)
        return rows[::-1].copy() if (at, of) == (step, leaf) else rows

    monkeypatch.setattr(BatchPlan, "rows", swapped)
    difference = verdict_of(finished).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step + 1, "rows", f"leaf {leaf}")
    assert f"leaf {leaf} consumed other rows (row " in difference.line


@pytest.mark.parametrize(("step", "leaf"), [(0, 1), (5, 3)])
def test_another_pixel_is_found_at_its_leaf(
    finished: Path, monkeypatch: pytest.MonkeyPatch, step: int, leaf: int
) -> None:
    honest = SampleStream.micro_batch

    def repainted(stream: SampleStream, plan: BatchPlan, at: int, of: int):
        batch = honest(stream, plan, at, of)
        if (at, of) == (step, leaf):
            batch.pixels_mhwc[0, 0, 0, 0] ^= 1
        return batch

    monkeypatch.setattr(SampleStream, "micro_batch", repainted)
    difference = verdict_of(finished).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step + 1, "pixels", f"leaf {leaf}")


@pytest.mark.parametrize(("split", "step"), [("validation", 4), ("test", 8)])
def test_another_evaluation_is_found(
    finished: Path, monkeypatch: pytest.MonkeyPatch, split: str, step: int
) -> None:
    import seedbed.replay.recomputation as recomputing

    honest = recomputing.evaluate_split

    def miscounted(context, *, split: str):
        counts = honest(context, split=split)
        return replace(counts, loss=counts.loss + 1) if split == wanted else counts

    wanted = split
    monkeypatch.setattr(recomputing, "evaluate_split", miscounted)
    difference = verdict_of(finished).difference
    assert difference is not None
    assert (difference.step, difference.subject) == (step, f"{split}/loss")


def test_a_run_that_did_not_end_where_its_stop_rule_says_is_found(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seedbed.replay.recomputation as recomputing

    run = train_run(a_manifest(data, tmp_path, **STOPPING, steps=20))
    honest = recomputing.should_stop
    monkeypatch.setattr(recomputing, "should_stop", lambda rule, scores: not honest(rule, scores))
    difference = verdict_of(run).difference
    assert difference is not None
    assert difference.line == "step 4: the stop rule ends training here; the receipt's run had 8 steps"
    monkeypatch.setattr(recomputing, "should_stop", lambda rule, scores: False)
    difference = verdict_of(run).difference
    assert difference is not None
    assert (difference.step, difference.kind) == (8, "stop")


def test_a_forged_recipe_does_not_lead_to_the_weights(run: Path) -> None:
    receipt = claim_of(run).receipt
    recipe = {**receipt.decided.recipe, "training": {**receipt.decided.recipe["training"]}}
    recipe["training"]["optimizer"] = {**recipe["training"]["optimizer"], "learningRate": "0.06"}
    identity = run_id(
        recipe,
        arithmetic_version=receipt.decided.arithmetic_version,
        environment_class=receipt.decided.environment_class,
    )
    execution = Execution(
        started_on="2026-01-01T00:00:00Z",
        finished_on="2026-01-01T00:00:00Z",
        version="0",
        attempts=1,
        workers=[1],
        dataset_uri=receipt.execution["datasetURI"],
    )
    forged = statement(replace(receipt.decided, recipe=recipe, run_id=identity), execution)
    (run / "receipt.json").write_bytes(to_bytes(forged))
    with pytest.raises(UserError, match="it is not the recipe of the receipt"):
        verdict_of(run)
    difference = verdict_of(run, alone=True).difference
    assert difference is not None
    assert (difference.step, difference.kind) == (4, "weights"), "the first evaluation that the receipt names"
