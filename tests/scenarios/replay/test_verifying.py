from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scenarios.replay.verdicts import STOPPING, verdict_of
from seedbed.runs import LedgerSegment
from seedbed_api.errors import UserError
from support.runs.altered_ledgers import other_witness, swapped_rows
from support.runs.small_run import STEPS, a_dataset, a_manifest, claim_of, objects_of, rewrite, train_run

FIRST = "conv1.weight"


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
