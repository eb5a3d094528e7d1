"""Whether the tensors of a checkpoint are those that the ledger and the evaluations of its run witnessed.

Finds tensors that were exchanged with all digests and seals made anew. The witness is a sum per tensor of
the model and per average: it is no protection against one who forges the ledger too, nor of the optimizer's
other tensors. Those are bound by the owner record.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from seedbed.runs.checkpoint_store import CheckpointRecord, ForgedCheckpoint, record_path
from seedbed.runs.evaluation_records import read_evaluation
from seedbed.runs.ledger import Int64, LedgerReader
from seedbed.runs.run_folder import RunFolder
from seedbed.runs.tensor_serialization import (
    AVERAGE,
    MODEL,
    Array,
    describe_tensors,
    tensors_with_prefix,
)


def require_witnessed(
    folder: RunFolder, record: CheckpointRecord, tensors: Mapping[str, Array], *, names: Sequence[str]
) -> None:
    """Raise ForgedCheckpoint where tensors differ from the record, the ledger or an evaluation.

    `names` are the witnessed tensors in the order of the witness.
    """
    if describe_tensors(tensors) != record.tensors:
        raise _refused(folder, record, "its blobs have other tensors than it lists")
    averages = tensors_with_prefix(tensors, AVERAGE)
    witnessed = tensors_with_prefix(tensors, MODEL) | {averaged(name): averages[name] for name in averages}
    found = witness_sums(witnessed, names)
    witnesses = list(
        LedgerReader(folder=folder).witnesses(record.step, chain=bytes.fromhex(record.ledger_chain))
    )
    if not witnesses:
        raise _refused(folder, record, "no segment of the ledger that verifies has its chain")
    for path, witness in witnesses:
        if found is None or not np.array_equal(found, witness):
            raise _refused(folder, record, f"its tensors are not those that {path} witnessed")
    evaluation = read_evaluation(folder, split="validation", step=record.step)
    if evaluation is not None and evaluation.document.get("weightsDigest") != record.weights_digest:
        raise _refused(folder, record, "its weights are not those that were evaluated")


def averaged(name: str) -> str:
    """Return the name of the average of a parameter in the witness."""
    return f"{name} (average)"


def witness_sums(tensors: Mapping[str, Array], names: Sequence[str]) -> Int64 | None:
    """Return the witness (T,) of tensors by name, as the arithmetic sums it; None if one is missing."""
    if tensors.keys() != set(names):
        return None
    return np.array([_lanes(tensors[name]).sum(dtype=np.int64) for name in names], dtype=np.int64)


def _lanes(tensor: Array) -> Array:
    """Return the int32 lanes of a tensor; elements of less than four bytes by value."""
    if tensor.dtype.itemsize < 4:
        return tensor.astype(np.int64)
    return np.ascontiguousarray(tensor).reshape(-1).view(np.int32)


def _refused(folder: RunFolder, record: CheckpointRecord, problem: str) -> ForgedCheckpoint:
    return ForgedCheckpoint(f"{folder.url}/{record_path(record.step)}: {problem}")
