from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import seedbed.arithmetic.optimizer_step
from seedbed.feed.sample_stream import SampleStream
from seedbed.order import BatchPlan
from seedbed.receipts import Execution, statement, to_bytes
from seedbed.replay.verification import VerificationObserver, VerificationResult, Window, verify
from seedbed.replay.worker_config_from_receipt import DataSources
from seedbed.runs import LedgerSegment
from seedbed_api.errors import UserError
from seedbed_api.run_identity import run_id
from support.runs.altered_ledgers import other_witness, swapped_rows
from support.runs.small_run import STEPS, a_dataset, a_manifest, claim_of, objects_of, rewrite, train_run

FIRST = "conv1.weight"


def verdict_of(run: Path, first: int | None = None, last: int | None = None, **options) -> VerificationResult:
    claim = claim_of(run, alone=options.pop("alone", False))
    return verify(claim, Window(first=first, last=last), DataSources(**options), VerificationObserver())


@pytest.mark.parametrize(
    ("first", "last", "started"),
    [
        pytest.param(None, None, 0, id="the whole run"),
        pytest.param(0, 2, 0, id="the beginning"),
        pytest.param(3, 6, 3, id="from a checkpoint to a checkpoint"),
        pytest.param(4, 5, 3, id="one step in between"),
        pytest.param(6, None, 6, id="from the last checkpoint to the end"),
        pytest.param(7, 8, 6, id="the last step"),
        pytest.param(2, 8, 0, id="from before the first checkpoint"),
    ],
)
def test_every_window_is_reproduced(
    finished: Path, first: int | None, last: int | None, started: int
) -> None:
    before = objects_of(finished)
    verdict = verdict_of(finished, first, last)
    assert verdict.result == "reproduced", verdict.difference
    assert verdict.started == started
    assert verdict.steps == (last or STEPS) - started, "steps were recomputed, not looked up"
    assert sum(verdict.leaves) == verdict.steps * 4
    assert objects_of(finished) == before, "verification writes nothing"
    if verdict.last == STEPS:
        assert verdict.weights_digest == claim_of(finished).receipt.decided.weights_digest


def test_the_receipt_alone_is_enough(finished: Path) -> None:
    verdict = verdict_of(finished, alone=True)
    assert verdict.result == "reproduced"
    assert "receipt" in verdict.compared


@pytest.mark.parametrize(
    ("first", "last", "named"),
    [
        pytest.param(0, 9, "--to-step: the run had 8 steps", id="beyond the end"),
        pytest.param(8, 8, "--from-step", id="empty"),
        pytest.param(-1, 4, "--from-step", id="negative"),
    ],
)
def test_impossible_windows_are_refused(finished: Path, first: int, last: int, named: str) -> None:
    with pytest.raises(UserError, match=named):
        verdict_of(finished, first, last)


def test_more_workers_than_leaves_are_refused(finished: Path) -> None:
    with pytest.raises(UserError, match="--workers: a step has 4 leaves"):
        verdict_of(finished, workers=5)


def flipped(content: bytes, place: float) -> bytes:
    position = min(int(place * len(content)), len(content) - 1)
    return content[:position] + bytes([content[position] ^ 4]) + content[position + 1 :]


DAMAGES = {
    "a bit in the middle": lambda content: flipped(content, 0.5),
    "last bit": lambda content: flipped(content, 1.0),
    "truncated": lambda content: content[: len(content) // 2],
}
UNPROVED = ("attempts/", "witness.json")
"""Not part of what is proved: who claimed, and names that only diff reads."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_to_any_object_is_one_line_that_names_it(run: Path, damage: str) -> None:
    for path, content in objects_of(run).items():
        if path.startswith(UNPROVED):
            continue
        (run / path).write_bytes(DAMAGES[damage](content))
        with pytest.raises(UserError) as caught:
            verdict_of(run)
        assert ("receipt" if path == "receipt.json" else path) in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.exit_code == 2
        (run / path).write_bytes(content)
    assert verdict_of(run).reproduced


@pytest.mark.parametrize("damage", ["a bit in the middle", "truncated", "gone"])
def test_a_damaged_shard_is_named(finished: Path, data: Path, tmp_path: Path, damage: str) -> None:
    copied = Path(shutil.copytree(data, tmp_path / "data"))
    shard = copied / "shards" / "000000.arrow"
    if damage == "gone":
        shard.unlink()
    else:
        shard.write_bytes(DAMAGES[damage](shard.read_bytes()))
    with pytest.raises(UserError, match=r"000000\.arrow") as caught:
        verdict_of(finished, dataset=str(copied))
    assert caught.value.reason == "InvalidDataset"


def test_another_dataset_is_refused(finished: Path, tmp_path: Path) -> None:
    from seedbed.storage import open_storage
    from support.datasets.small_datasets import write_dataset

    write_dataset(open_storage(str(tmp_path)), rows={"train": 40, "validation": 9, "test": 7})
    with pytest.raises(UserError) as caught:
        verdict_of(finished, dataset=str(tmp_path))
    assert caught.value.reason == "DatasetChanged"


def test_a_dataset_that_is_gone_is_asked_for(tmp_path: Path) -> None:
    moved = a_dataset(tmp_path / "data")
    run = train_run(a_manifest(moved, tmp_path / "out", steps=1))
    moved.rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="give --dataset URL"):
        verdict_of(run)
    assert verdict_of(run, dataset=str(tmp_path / "elsewhere")).reproduced


def test_a_dataset_that_moved_is_found_where_it_is_now(finished: Path, tmp_path: Path) -> None:
    assert verdict_of(finished, 6, 8, dataset=str(a_dataset(tmp_path))).reproduced


@pytest.mark.parametrize(
    ("gone", "missing", "started"),
    [
        pytest.param("checkpoints/3.json", None, 0, id="a pruned checkpoint"),
        pytest.param("blobs/*", "a part of the checkpoint of step 3", 0, id="all blobs"),
        pytest.param("ledger/3-6-*", "ledger of steps 4..6", 3, id="a segment of the ledger"),
        pytest.param("ledger/*", "ledger of steps 1..8", 3, id="the ledger"),
        pytest.param("evaluations/validation-4.json", "evaluations/validation-4.json", 3, id="an evaluation"),
        pytest.param("model/model.safetensors", "model/model.safetensors", 3, id="the model file"),
        pytest.param("environment.json", "environment.json", 3, id="the environment document"),
        pytest.param("result.json", "result.json", 3, id="the result"),
    ],
)
def test_what_is_missing_is_told_and_the_rest_verified(
    run: Path, gone: str, missing: str | None, started: int
) -> None:
    for path in list(run.glob(gone)):
        path.unlink()
    verdict = verdict_of(run, 3, 8)
    assert verdict.reproduced, verdict.difference
    assert verdict.started == started
    assert (missing in verdict.missing) if missing else not verdict.missing


def test_a_window_of_which_nothing_is_known_is_not_said_to_be_reproduced(run: Path) -> None:
    shutil.rmtree(run / "ledger")
    verdict = verdict_of(run, 3, 5)
    assert (verdict.result, verdict.difference) == ("unverified", None)


def test_segments_of_interrupted_attempts_may_overlap(run: Path) -> None:
    from seedbed.runs.ledger import parse_segment

    (path,) = run.glob("ledger/3-6-*")
    whole = parse_segment(path.read_bytes())
    parts = {name: getattr(whole, name)[1:] for name in ("rows", "digests", "loss", "witness")}
    part = replace(whole, first=4, chain_before=whole.chains()[0], **parts)
    (run / part.path).write_bytes(part.to_bytes())
    assert verdict_of(run).reproduced
    apart = replace(part, chain_before=bytes(32))
    (run / apart.path).write_bytes(apart.to_bytes())
    with pytest.raises(UserError, match="it does not link to the others at step 4"):
        verdict_of(run)


def nudged_loss(segment: LedgerSegment, offset: int) -> LedgerSegment:
    loss = segment.loss.copy()
    loss[offset] = np.nextafter(loss[offset], np.inf)
    return replace(segment, loss=loss)


@pytest.mark.parametrize(
    ("change", "kind", "subject"),
    [
        pytest.param(swapped_rows, "rows", "leaf 2", id="two rows change places"),
        pytest.param(nudged_loss, "loss", "loss", id="a loss that is one bit off"),
        pytest.param(other_witness, "tensor", "norm2.weight", id="a witness that is one off"),
    ],
)
@pytest.mark.parametrize("step", [0, 7])
def test_a_forged_ledger_is_found_at_its_step(run: Path, step: int, change, kind: str, subject: str) -> None:
    rewrite(run, step, change)
    difference = verdict_of(run).difference
    assert difference is not None
    assert (difference.step, difference.kind, difference.subject) == (step + 1, kind, subject)


def test_a_row_twice_is_found_without_recomputing(run: Path) -> None:
    def doubled(segment: LedgerSegment, offset: int) -> LedgerSegment:
        rows = segment.rows.copy()
        rows[offset, 1, 1] = rows[offset, 0, 0]
        return replace(segment, rows=rows)

    rewrite(run, 1, doubled)
    with pytest.raises(UserError, match="twice") as caught:
        verdict_of(run)
    assert caught.value.reason == "LedgerBroken"


def test_a_ledger_with_other_leaf_digests_does_not_end_as_the_receipt_says(run: Path) -> None:
    def other(segment: LedgerSegment, offset: int) -> LedgerSegment:
        digests = segment.digests.copy()
        digests[offset, 0, 0] ^= 1
        return replace(segment, digests=digests)

    rewrite(run, 7, other)
    with pytest.raises(UserError, match="the end of its chain differs from the receipt"):
        verdict_of(run)


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


def test_another_environment_class_names_what_differs(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import seedbed.driver.resolve_run as preparing

    honest = preparing._environment

    def elsewhere(device: str):
        document, _ = honest(device)
        return {**document, "libc": "musl 1.2"}, "sha256:" + "0" * 64

    monkeypatch.setattr(preparing, "_environment", elsewhere)
    with pytest.raises(
        UserError, match=r"environment of the run != here: libc: glibc .* != musl 1\.2; verify"
    ) as caught:
        verdict_of(finished)
    assert caught.value.reason == "EnvironmentChanged"
    with pytest.raises(UserError, match=r"environment class sha256:.* in the receipt, sha256:000"):
        verdict_of(finished, alone=True)


STOPPING = {
    "earlyStopping": {
        "metric": "validation/loss",
        "direction": "Minimize",
        "patienceEvaluations": 1,
        "minDelta": "1000",
    }
}


@pytest.mark.parametrize(
    ("training", "length"),
    [
        pytest.param({"modelSelection": "Best"}, 8, id="best model"),
        pytest.param({"modelSelection": "Best", **STOPPING, "steps": 20}, 8, id="best model, stopped early"),
        pytest.param({**STOPPING, "steps": 20}, 8, id="last model, stopped early"),
        pytest.param({"steps": None, "epochs": 2}, 7, id="epochs with a filled last step"),
    ],
)
def test_runs_of_every_kind_of_end_are_reproduced(tmp_path: Path, data: Path, training, length: int) -> None:
    manifest = a_manifest(data, tmp_path, **training)
    manifest["spec"]["training"] = {k: v for k, v in manifest["spec"]["training"].items() if v is not None}
    run = train_run(manifest)
    for first in (0, length - 1):
        verdict = verdict_of(run, first)
        assert verdict.reproduced, verdict.difference
        assert verdict.last == length
        assert verdict.weights_digest == claim_of(run).receipt.decided.weights_digest
