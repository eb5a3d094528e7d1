"""The ledger: one chain whatever the cadence, workers and kills; every row once per epoch, proved."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.runs import (
    CHAIN_START,
    LedgerBuffer,
    LedgerReader,
    RunFolder,
    check_exactly_once,
    join_ledger_parts,
    leaf_digest,
    next_chain,
    open_run,
    save_segment,
)
from seedbed.storage import open_storage
from seedbed_api.errors import InfrastructureError

RUN = "sha256:" + "cd" * 32
LEAVES, LEAF_ROWS, COUNT = 4, 3, 31


def a_folder(path: Path) -> RunFolder:
    return open_run(open_storage(str(path)), RUN)


@cache
def epoch_order(epoch: int) -> list[int]:
    order = list(range(100, 100 + COUNT))
    Random(epoch).shuffle(order)
    return order


def planned(step: int, leaf: int) -> np.ndarray:
    """A plan: epochs of 31 rows, each in an order of its own; the stream is cut into leaves of 3."""
    start = (step * LEAVES + leaf) * LEAF_ROWS
    rows = []
    for position in range(start, start + LEAF_ROWS):
        epoch, offset = divmod(position, COUNT)
        rows.append(epoch_order(epoch)[offset])
    return np.array(rows, dtype=np.int64)


def pixels(rows: np.ndarray) -> np.ndarray:
    return (rows[:, None, None, None] % 256 * np.ones((1, 2, 2, 3))).astype(np.uint8)


def train(
    folder: RunFolder,
    *,
    first: int,
    stop: int,
    workers: int,
    chain: bytes,
    plan: Callable[[int, int], np.ndarray] = planned,
) -> bytes:
    """Consume steps [first, stop) on some workers and store one segment, as rank 0 does at a checkpoint."""
    buffers = [LedgerBuffer() for _ in range(workers)]
    for step in range(first, stop):
        for leaf in range(LEAVES):
            rows = plan(step, leaf)
            digest = leaf_digest(rows, rows % 7, pixels(rows))
            buffers[leaf * workers // LEAVES].add_leaf(step, leaf, rows_m=rows, digest=digest)
        for buffer in buffers:
            buffer.add_step(step, loss=step / 7, witness=[step, -step])
    segment = join_ledger_parts(
        [buffer.drain() for buffer in buffers], first=first, leaves=LEAVES, chain_before=chain
    )
    save_segment(folder, segment)
    return segment.chain


def straight(folder: RunFolder, total: int) -> bytes:
    return train(folder, first=0, stop=total, workers=1, chain=CHAIN_START)


def test_chain_is_as_written_in_the_architecture() -> None:
    rows, labels = np.array([5, 6]), np.array([1, 0])
    image = np.arange(2 * 2 * 2 * 3, dtype=np.uint8).reshape(2, 2, 2, 3)
    raw = b"".join(n.to_bytes(8, "little") for n in (5, 6, 1, 0)) + bytes(range(24))
    assert leaf_digest(rows, labels, image) == sha256(raw).digest()
    leaves = [bytes([n]) * 32 for n in (1, 2)]
    step = (258).to_bytes(8, "little")
    assert next_chain(CHAIN_START, 258, leaves) == sha256(bytes(32) + step + leaves[0] + leaves[1]).digest()


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(data=st.data(), total=st.integers(1, 16))
def test_chain_and_rows_do_not_depend_on_cadence_workers_or_kills(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, total: int
) -> None:
    reference = a_folder(tmp_path_factory.mktemp("straight"))
    expected = straight(reference, total)
    folder = a_folder(tmp_path_factory.mktemp("killed"))
    done, chain = 0, CHAIN_START
    kills = data.draw(st.integers(0, 3), label="kills")
    while done < total:
        stop = data.draw(st.integers(done + 1, total), label="checkpoint after")
        workers = data.draw(st.integers(1, LEAVES), label="workers")
        reached = train(folder, first=done, stop=stop, workers=workers, chain=chain)
        if kills and data.draw(st.booleans(), label="killed before the record"):
            kills -= 1
            continue
        done, chain = stop, reached
    assert chain == expected
    ours, theirs = LedgerReader(folder=folder), LedgerReader(folder=reference)
    for a, b in zip(ours.steps(stop=total), theirs.steps(stop=total), strict=True):
        assert (a.step, a.chain, a.leaf_digests, a.loss) == (b.step, b.chain, b.leaf_digests, b.loss)
        assert np.array_equal(a.rows, b.rows)
        assert np.array_equal(a.witness, b.witness)


@pytest.mark.parametrize("how", ["bit in rows", "any bit", "cut", "missing"])
def test_damaged_segment_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    folder = a_folder(tmp_path)
    chain = train(folder, first=0, stop=3, workers=2, chain=CHAIN_START)
    train(folder, first=3, stop=6, workers=2, chain=chain)
    path = next(p for p in folder.objects.list("ledger") if p.startswith("ledger/3-"))
    data = bytearray(folder.objects.read(path))
    if how == "bit in rows":
        data[data.index(np.int64(planned(4, 1)[0]).tobytes() + np.int64(planned(4, 1)[1]).tobytes())] ^= 1
    elif how == "any bit":
        data[-40] ^= 16
    folder.objects.delete(path)
    if how != "missing":
        folder.objects.put(path, bytes(data[: len(data) // 2] if how == "cut" else data))
    with caplog.at_level(logging.WARNING), pytest.raises(InfrastructureError) as caught:
        list(LedgerReader(folder=folder).steps(stop=6))
    assert caught.value.reason == "LedgerDamaged"
    assert "step 3" in caught.value.message
    assert how == "missing" or path in caught.value.message
    train(folder, first=3, stop=6, workers=3, chain=chain)
    assert len(list(LedgerReader(folder=folder).steps(stop=6))) == 6, "trained again, the segment is restored"


def test_segment_of_another_past_does_not_link(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    train(folder, first=0, stop=3, workers=1, chain=CHAIN_START)
    train(folder, first=3, stop=6, workers=1, chain=sha256(b"another past").digest())
    with pytest.raises(InfrastructureError, match="does not link"):
        list(LedgerReader(folder=folder).steps(stop=6))


def test_damaged_segment_is_replaced_by_others_that_cover_it(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    chain = straight(folder, 8)
    long = folder.objects.list("ledger")[0]
    half = train(folder, first=0, stop=5, workers=1, chain=CHAIN_START)
    train(folder, first=5, stop=8, workers=1, chain=half)
    folder.objects.put(long, folder.objects.read(long)[:-1])
    assert LedgerReader(folder=folder).chain(stop=8) == chain


VIEW = np.arange(100, 100 + COUNT)
EPOCHS = 3
TOTAL = -(-EPOCHS * COUNT // (LEAVES * LEAF_ROWS))


def test_every_row_once_per_epoch_and_fill_apart(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    straight(folder, TOTAL)
    proof = check_exactly_once(LedgerReader(folder=folder), view_rows=VIEW, total_steps=TOTAL, epochs=EPOCHS)
    assert (proof.epochs, proof.rows_per_epoch, proof.partial) == (3, COUNT, 0)
    assert len(proof.fill) == TOTAL * LEAVES * LEAF_ROWS - EPOCHS * COUNT == 3
    assert proof.fill == tuple(epoch_order(EPOCHS)[:3])


def test_training_that_ends_inside_an_epoch_counts_its_rows(tmp_path: Path) -> None:
    folder = a_folder(tmp_path)
    straight(folder, 4)
    proof = check_exactly_once(LedgerReader(folder=folder), view_rows=VIEW, total_steps=4)
    assert (proof.epochs, proof.partial, proof.fill) == (1, 4 * 12 - COUNT, ())


def swapped(step: int, leaf: int) -> np.ndarray:
    rows = planned(step, leaf)
    if (step, leaf) == (1, 0):
        rows[0] = planned(0, 0)[0]
    return rows


def foreign(step: int, leaf: int) -> np.ndarray:
    rows = planned(step, leaf)
    if (step, leaf) == (1, 2):
        rows[1] = 4711
    return rows


@pytest.mark.parametrize(
    ("plan", "epochs", "message"),
    [
        pytest.param(swapped, EPOCHS, "epoch 0: row .* twice .steps 0 and 1.", id="a row consumed twice"),
        pytest.param(foreign, EPOCHS, "row 4711 of step 1 is not of the view", id="a row of another split"),
        pytest.param(planned, EPOCHS + 1, "3 complete epochs", id="an epoch too few"),
    ],
)
def test_what_is_not_exactly_once_is_told(
    tmp_path: Path, plan: Callable[[int, int], np.ndarray], epochs: int, message: str
) -> None:
    folder = a_folder(tmp_path)
    train(folder, first=0, stop=TOTAL, workers=2, chain=CHAIN_START, plan=plan)
    with pytest.raises(InfrastructureError, match=message):
        check_exactly_once(LedgerReader(folder=folder), view_rows=VIEW, total_steps=TOTAL, epochs=epochs)


def test_gathering_refuses_gaps_doubles_and_disagreement() -> None:
    def part(leaves: range, witness: int = 0) -> LedgerBuffer:
        buffer = LedgerBuffer()
        for leaf in leaves:
            buffer.add_leaf(0, leaf, rows_m=[leaf], digest=bytes(32))
        buffer.add_step(0, loss=0.5, witness=[witness])
        return buffer

    for buffers, message in [
        ([part(range(2)), part(range(1, 4))], "two workers"),
        ([part(range(2)), part(range(3, 4))], "no worker"),
        ([part(range(2)), part(range(2, 4), witness=1)], "disagree"),
    ]:
        with pytest.raises(AssertionError, match=message):
            join_ledger_parts([b.drain() for b in buffers], first=0, leaves=4, chain_before=CHAIN_START)
