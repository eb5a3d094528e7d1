"""Checkpoints: bytes are a function of the state, damage is found and passed over, pruning leaves what counts."""

from __future__ import annotations

import errno
import logging
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.arithmetic import tensor_digests as digests
from seedbed.runs import (
    CheckpointRecord,
    RunFolder,
    checkpoint_record,
    checkpoint_steps,
    latest_checkpoint,
    open_run,
    prune_checkpoints,
    save_checkpoint,
    save_evaluation,
    to_torch,
    weights_digest,
)
from seedbed.runs.tensor_serialization import serialize
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError

RUN = "sha256:" + "ab" * 32


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return open_run(open_storage(str(tmp_path / "out")), RUN)


def a_state(step: int, *, width: int = 5) -> dict[str, Any]:
    values = np.random.default_rng(step).standard_normal((width, 3)).astype(np.float32)
    return {
        "model.conv.weight": values,
        "model.bn.num_batches_tracked": np.array(step, dtype=np.int64),
        "optimizer.momentum.conv.weight": -values,
    }


def a_record(step: int, state: dict[str, Any], evaluations: Any = ()) -> CheckpointRecord:
    return checkpoint_record(
        state,
        run_id=RUN,
        trajectory_id=f"t{step}",
        step=step,
        ledger_chain=bytes(32),
        evaluations=evaluations,
    )


def save(folder: RunFolder, *steps: int) -> None:
    for step in steps:
        save_checkpoint(folder, a_record(step, a_state(step)), a_state(step))


def test_latest_returns_the_very_bits(folder: RunFolder) -> None:
    save(folder, 2, 10, 9)
    found = latest_checkpoint(folder)
    assert found is not None
    record, tensors = found
    assert record.step == 10
    assert record == a_record(10, a_state(10))
    assert tensors.keys() == a_state(10).keys()
    for name, array in a_state(10).items():
        assert tensors[name].tobytes() == array.tobytes()
        assert tensors[name].shape == array.shape
        assert tensors[name].dtype == array.dtype


def test_latest_before_a_step_serves_replays(folder: RunFolder) -> None:
    save(folder, 2, 9, 10)
    assert [latest_checkpoint(folder, up_to=step)[0].step for step in (10, 9, 8)] == [10, 9, 2]  # type: ignore[index]
    assert latest_checkpoint(folder, up_to=1) is None


def test_torch_and_numpy_states_make_equal_records() -> None:
    state = a_state(3)
    assert a_record(3, to_torch(state)).to_bytes() == a_record(3, state).to_bytes()


@pytest.mark.parametrize(
    "tensor",
    [
        pytest.param(
            torch.arange(24.0).reshape(1, 2, 3, 4).to(memory_format=torch.channels_last), id="channels last"
        ),
        pytest.param(torch.arange(24.0).reshape(1, 2, 4, 3).transpose(2, 3), id="transposed view"),
        pytest.param(torch.arange(24.0, requires_grad=True).reshape(1, 2, 3, 4), id="of a graph"),
    ],
)
def test_digest_is_over_values_not_over_memory(tensor: torch.Tensor) -> None:
    assert weights_digest({"w": tensor}) == weights_digest({"w": tensor.detach().contiguous().clone()})


def test_digest_of_weights_is_the_arithmetics() -> None:
    state = {name.removeprefix("model."): array for name, array in a_state(1).items() if name[0] == "m"}
    assert weights_digest(state) == digests.weights_digest(to_torch(state))
    assert a_record(1, a_state(1)).weights_digest == weights_digest(state)


def test_digest_of_weights_names_dtype_shape_and_values() -> None:
    base = {"w": np.zeros((2, 2), dtype=np.float32)}
    others = [
        {"v": base["w"]},
        {"w": np.zeros((2, 2), dtype=np.int32)},
        {"w": np.zeros((4,), dtype=np.float32)},
        {"w": np.full((2, 2), -0.0, dtype=np.float32)},
    ]
    digests = {weights_digest(state) for state in [base, *others]}
    assert len(digests) == 5


def test_blob_bytes_are_golden() -> None:
    """The bytes of safetensors are in records: another version of the library must not change them."""
    state = {
        "b": np.arange(3, dtype=np.int64),
        "a": np.ones((2, 1), dtype=np.float32),
        "c": np.array(7, dtype=np.int64),
    }
    assert sha256(serialize(state)).hexdigest() == GOLDEN_BLOB


GOLDEN_BLOB = "19717f5fcf77b2c228b11b00e0dc55bb89ae0fb6f1e9ed38e0709084284592b1"


def damage(folder: RunFolder, path: str, how: str) -> None:
    data = bytearray(folder.objects.read(path))
    if how == "missing":
        folder.objects.delete(path)
        return
    if how == "one bit":
        data[len(data) // 2] ^= 1
    elif how == "last bit":  # of a tensor's values: the header still parses
        data[-1] ^= 1
    elif how == "cut":
        del data[len(data) // 2 :]
    else:
        data.clear()
    folder.objects.put(path, bytes(data))


@pytest.mark.parametrize("how", ["one bit", "last bit", "cut", "empty", "missing"])
@pytest.mark.parametrize("part", ["model", "optimizer", "record", "evaluation"])
def test_damage_is_found_named_passed_over_and_mended(
    folder: RunFolder, caplog: pytest.LogCaptureFixture, part: str, how: str
) -> None:
    evaluation = save_evaluation(folder, split="validation", step=8, document={"loss": 5})
    save(folder, 4)
    state, record = a_state(8), a_record(8, a_state(8), [evaluation])
    save_checkpoint(folder, record, state)
    path = {"record": "checkpoints/8.json", "evaluation": "evaluations/validation-8.json"}.get(part)
    path = path or f"blobs/{record.blobs[part]}"
    damage(folder, path, how)
    with caplog.at_level(logging.WARNING):
        found = latest_checkpoint(folder)
    assert found is not None
    assert found[0].step == 4
    if (part, how) != ("record", "missing"):
        assert "evaluations" in caplog.text if part == "evaluation" else path in caplog.text
    save_evaluation(folder, split="validation", step=8, document={"loss": 5})
    save_checkpoint(folder, record, state)
    assert latest_checkpoint(folder)[0] == record  # type: ignore[index]


def test_every_single_bit_of_a_record_counts() -> None:
    data = a_record(3, a_state(3)).to_bytes()
    for position in range(0, len(data)):
        flipped = bytearray(data)
        flipped[position] ^= 1 << (position % 8)
        with pytest.raises((ValueError, KeyError, AssertionError)):
            CheckpointRecord.from_bytes(bytes(flipped))


def test_other_weights_for_the_same_step_are_nondeterminism(folder: RunFolder) -> None:
    save(folder, 4)
    with pytest.raises(InfrastructureError) as caught:
        save_checkpoint(folder, a_record(4, a_state(5)), a_state(5))
    assert caught.value.reason == "RunFolderConflict"
    assert "checkpoints/4.json" in caught.value.message
    assert latest_checkpoint(folder)[0] == a_record(4, a_state(4))  # type: ignore[index]


@settings(max_examples=15, deadline=None)
@given(
    steps=st.sets(st.integers(0, 30), min_size=1, max_size=8),
    keep=st.integers(1, 4),
    protect=st.sets(st.integers(0, 30), max_size=3),
)
def test_pruning_leaves_the_newest_and_the_protected(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], keep: int, protect: set[int]
) -> None:
    folder = open_run(open_storage(str(tmp_path_factory.mktemp("out"))), RUN)
    for step in steps:
        state = a_state(step // 2)  # neighbours share blobs
        save_checkpoint(folder, a_record(step, state), state)
    gone = prune_checkpoints(folder, keep=keep, protect=protect)
    kept = sorted({*sorted(steps)[-keep:], *(protect & steps)})
    assert checkpoint_steps(folder) == kept
    assert sorted(gone) == sorted(steps - set(kept))
    for step in kept:
        assert latest_checkpoint(folder, up_to=step)[0].step == step  # type: ignore[index]
    blobs = {
        f"blobs/{digest}" for step in kept for digest in a_record(step, a_state(step // 2)).blobs.values()
    }
    assert set(folder.objects.list("blobs")) == blobs


@pytest.mark.parametrize("part", ["model", "optimizer", "record"])
def test_damaged_newer_checkpoint_does_not_push_out_the_one_just_written(
    folder: RunFolder, part: str
) -> None:
    save(folder, 2, 4, 8)
    damage(folder, {"record": "checkpoints/8.json"}.get(part) or f"blobs/{blobs_of(8)[part]}", "last bit")
    assert latest_checkpoint(folder)[0].step == 4  # type: ignore[index]
    save(folder, 6)
    assert prune_checkpoints(folder, keep=1, newest=6) == [2, 4, 8]
    assert checkpoint_steps(folder) == [6]
    assert latest_checkpoint(folder)[0].step == 6  # type: ignore[index]


def test_whole_checkpoint_of_a_later_attempt_survives_a_late_pruning(folder: RunFolder) -> None:
    """Who was frozen between the check of the lease and the pruning deletes nothing that a resume would take."""
    save(folder, 2, 4, 6, 8)
    assert prune_checkpoints(folder, keep=1, newest=4) == [2]
    assert latest_checkpoint(folder)[0].step == 8  # type: ignore[index]


def test_pruning_counts_and_keeps_the_protected_whatever_is_newest(folder: RunFolder) -> None:
    save(folder, 1, 2, 3, 4)
    assert prune_checkpoints(folder, keep=2, protect={1, 9}, newest=4) == [2]
    assert checkpoint_steps(folder) == [1, 3, 4]


@pytest.mark.parametrize("listed", [(), (2, 4)], ids=["nothing", "older ones"])
def test_nothing_is_deleted_while_the_newest_is_not_listed(
    folder: RunFolder, listed: tuple[int, ...]
) -> None:
    save(folder, *listed)
    before = folder.objects.list()
    with pytest.raises(AssertionError, match="not listed"):
        prune_checkpoints(folder, keep=1, newest=6)
    assert folder.objects.list() == before


def test_listing_that_fails_deletes_nothing(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    save(folder, 2, 4)
    before, scan = folder.objects.list(), os.scandir

    def failing(path: str) -> object:
        if str(path).endswith("/checkpoints"):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(InfrastructureError):
        prune_checkpoints(folder, keep=1)
    monkeypatch.undo()
    assert folder.objects.list() == before


def test_blobs_that_wait_for_their_record_survive_pruning(folder: RunFolder) -> None:
    """Another attempt has written its blobs, and its record comes after our pruning."""
    save(folder, 2, 4)
    publish, state = type(folder).publish, a_state(6)

    def pruned_before_the_record(self: RunFolder, path: str, data: bytes, **options: Any) -> None:
        if path == "checkpoints/6.json":
            assert prune_checkpoints(folder, keep=1, newest=4) == [2]
        publish(self, path, data, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "publish", pruned_before_the_record)
        save_checkpoint(folder, a_record(6, state), state)
    assert checkpoint_steps(folder) == [4, 6]
    assert latest_checkpoint(folder)[0].step == 6  # type: ignore[index]


def test_blob_that_a_kept_record_shares_with_a_deleted_one_stays(folder: RunFolder) -> None:
    for step in (2, 4):  # an optimizer without state has one blob for all steps
        state = a_state(step) | {"optimizer.momentum.conv.weight": np.zeros(3, dtype=np.float32)}
        save_checkpoint(folder, a_record(step, state), state)
    assert prune_checkpoints(folder, keep=1, newest=4) == [2]
    assert latest_checkpoint(folder)[0].step == 4  # type: ignore[index]
    assert len(folder.objects.list("blobs")) == 2


def blobs_of(step: int) -> dict[str, str]:
    return a_record(step, a_state(step)).blobs
