"""What workers exchange of the ledger arrives bit for bit, and other bytes are refused without running code."""

from __future__ import annotations

import math
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.runs.ledger import LedgerBuffer, LedgerPart
from seedbed.runs.ledger_exchange import ledger_part_bytes, parse_ledger_part
from seedbed.runs.tensor_serialization import deserialize, serialize

INT64 = st.integers(-(2**63), 2**63 - 1)


def a_part(*, steps: int, leaves: int, rows: int, losses: list[float]) -> LedgerPart:
    buffer = LedgerBuffer()
    for step in range(steps):
        for leaf in range(leaves):
            digest = bytes([step % 256, leaf % 256] * 16)
            buffer.add_leaf(step, leaf, rows_m=np.arange(rows) + leaf, digest=digest)
        buffer.add_step(step, loss=losses[step], witness=[step, -step, 2**63 - 1])
    return buffer.drain()


def same(a: LedgerPart, b: LedgerPart) -> bool:
    def plain(part: LedgerPart) -> object:
        leaves = [(key, rows.tolist(), digest) for key, (rows, digest) in part.leaves.items()]
        steps = [(key, struct.pack("<d", loss), w.tolist()) for key, (loss, w) in part.steps.items()]
        return leaves, steps

    return plain(a) == plain(b)


@settings(max_examples=100, deadline=None)
@given(
    losses=st.lists(st.floats(allow_nan=True), max_size=4),
    leaves=st.integers(0, 3),
    rows=st.integers(1, 5),
)
def test_a_part_arrives_bit_for_bit(losses: list[float], leaves: int, rows: int) -> None:
    part = a_part(steps=len(losses), leaves=leaves, rows=rows, losses=losses)
    assert same(parse_ledger_part(ledger_part_bytes(part)), part)


@pytest.mark.parametrize(
    "loss", [0.1, -0.0, 5e-324, math.inf, struct.unpack("<d", b"\x01\0\0\0\0\0\xf8\x7f")[0]]
)
def test_a_loss_keeps_its_bits(loss: float) -> None:
    part = a_part(steps=1, leaves=1, rows=2, losses=[loss])
    arrived = parse_ledger_part(ledger_part_bytes(part)).steps[0][0]
    assert struct.pack("<d", arrived) == struct.pack("<d", loss)


class Planted:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return (Path.write_text, (self.file, "ran"))


def test_a_pickle_is_refused_and_runs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        parse_ledger_part(pickle.dumps(Planted(tmp_path / "ran")))
    assert not (tmp_path / "ran").exists()


CHANGES = {
    "no rows": lambda arrays: arrays.pop("rows"),
    "another type": lambda arrays: arrays.update(rows=arrays["rows"].astype(np.float64)),
    "short digests": lambda arrays: arrays.update(digests=arrays["digests"][:, :31].copy()),
    "a digest too few": lambda arrays: arrays.update(digests=arrays["digests"][1:].copy()),
    "losses as integers": lambda arrays: arrays.update(loss=arrays["loss"].astype(np.int64)),
    "a loss too many": lambda arrays: arrays.update(loss=np.zeros(3)),
    "a flat witness": lambda arrays: arrays.update(witness=arrays["witness"].reshape(-1)),
}


@pytest.mark.parametrize("change", CHANGES)
def test_arrays_that_do_not_fit_are_refused(change: str) -> None:
    arrays = deserialize(ledger_part_bytes(a_part(steps=2, leaves=2, rows=3, losses=[1.0, 2.0])))
    CHANGES[change](arrays)
    with pytest.raises(ValueError, match=r"it has no|is (u?int|float)"):
        parse_ledger_part(serialize(arrays))


@settings(max_examples=200, deadline=None)
@given(data=st.binary(max_size=200))
def test_any_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        parse_ledger_part(data)
