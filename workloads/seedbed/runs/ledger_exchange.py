"""Parts of the ledger as bytes that workers exchange: typed arrays, so that reading them runs no code.

Shapes: N leaves of one worker, m rows of a leaf, S steps, T tensors of the witness.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from seedbed.runs.ledger import Int64, LedgerPart
from seedbed.runs.tensor_serialization import Array, deserialize, serialize

Steps: TypeAlias = Mapping[int, tuple[float, Int64]]
"""0-based step -> loss and witness (T,)."""


def ledger_part_bytes(part: LedgerPart) -> bytes:
    """Return the ledger of one worker as safetensors bytes."""
    rows, digests = zip(*part.leaves.values(), strict=True) if part.leaves else ((), ())
    leaves = {
        "places": np.array(list(part.leaves), dtype=np.int64).reshape(-1, 2),
        "rows": np.array(rows, dtype=np.int64).reshape(len(rows), -1 if rows else 0),
        "digests": np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 32),
    }
    return serialize(leaves | step_arrays(part.steps))


def parse_ledger_part(data: bytes) -> LedgerPart:
    """Return the ledger of one worker; ValueError for other bytes."""
    arrays = deserialize(data)
    require_array(arrays, "places", "int64", (None, 2))
    count = len(arrays["places"])
    require_array(arrays, "rows", "int64", (count, None))
    require_array(arrays, "digests", "uint8", (count, 32))
    consumed = zip(arrays["rows"], (digest.tobytes() for digest in arrays["digests"]), strict=True)
    places = ((int(step), int(leaf)) for step, leaf in arrays["places"])
    return LedgerPart(leaves=dict(zip(places, consumed, strict=True)), steps=parse_steps(arrays))


def step_arrays(steps: Steps) -> dict[str, Array]:
    """Return steps (S,), losses (S,) and witnesses (S, T) of some steps."""
    count = len(steps)
    return {
        "steps": np.array(list(steps), dtype=np.int64),
        "loss": np.array([loss for loss, _ in steps.values()], dtype=np.float64),
        "witness": np.array([witness for _, witness in steps.values()], dtype=np.int64).reshape(
            count, -1 if count else 0
        ),
    }


def parse_steps(arrays: Mapping[str, Array]) -> dict[int, tuple[float, Int64]]:
    """Return the steps of `step_arrays`; ValueError for other arrays."""
    require_array(arrays, "steps", "int64", (None,))
    count = len(arrays["steps"])
    require_array(arrays, "loss", "float64", (count,))
    require_array(arrays, "witness", "int64", (count, None))
    losses = (float(loss) for loss in arrays["loss"])
    values = zip(losses, arrays["witness"], strict=True)
    return dict(zip((int(step) for step in arrays["steps"]), values, strict=True))


def require_array(arrays: Mapping[str, Array], name: str, dtype: str, shape: tuple[int | None, ...]) -> None:
    """Raise ValueError unless there is an array of this dtype and shape; None is any length."""
    array = arrays.get(name)
    if array is None:
        raise ValueError(f"it has no {name}")
    fits = len(shape) == array.ndim and all(
        n in (None, own) for n, own in zip(shape, array.shape, strict=True)
    )
    if array.dtype.name != dtype or not fits:
        raise ValueError(f"{name} is {array.dtype.name} {array.shape}")
