"""Objects of a run folder with other contents and all digests and seals made anew, as an attacker makes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from seedbed.receipts.receipt_statement import SEAL, seal_of
from seedbed.runs.checkpoint_store import CheckpointRecord
from seedbed.runs.ledger import LedgerSegment, parse_segment
from seedbed.runs.sealed_json import open_sealed, seal
from seedbed.runs.tensor_serialization import describe_tensors, digest_of_documents, tensors_with_prefix
from seedbed_api.canonical_json import canonical_json, digest_of

Change = Callable[[Any], None]


def rewrite(file: Path, data: bytes) -> None:
    """Replace a file, read-only or not."""
    if file.exists():
        file.chmod(0o644)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)


def reseal(file: Path, change: Change) -> None:
    """Change a sealed document and seal it again."""
    document = open_sealed(file.read_bytes())
    change(document)
    rewrite(file, seal(document))


def reseal_receipt(run: Path, change: Change, *, name_it: bool = True) -> None:
    """Change a receipt, renew its metrics digest and its seal, and (`name_it`) its digest in the result."""
    file = run / "receipt.json"
    document = json.loads(file.read_bytes())
    change(document)
    details = document["predicate"]["runDetails"]
    for part in details["byproducts"]:
        if part["name"] == "metrics":
            part["digest"]["sha256"] = digest_of(canonical_json(part["annotations"])).removeprefix("sha256:")
    details["byproducts"] = [part for part in details["byproducts"] if part["name"] != SEAL]
    details["byproducts"].append(seal_of(document))
    rewrite(file, canonical_json(document))
    if name_it and (run / "result.json").exists():
        digest = digest_of(file.read_bytes())
        reseal(run / "result.json", lambda result: result.update(receipt_digest=digest))


def byproduct(document: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a byproduct of a receipt."""
    parts = document["predicate"]["runDetails"]["byproducts"]
    return next(part for part in parts if part["name"] == name)


def other_weights(file: Path, *, by: float = 0.25) -> bytes:
    """Return a safetensors file with other values in its first tensor."""
    tensors = dict(load(file.read_bytes()))
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + np.asarray(by, dtype=tensors[name].dtype)
    return save({name: tensors[name] for name in sorted(tensors)})


def forge_checkpoint(run: Path, step: int, *, part: str = "model", witness_too: bool = False) -> None:
    """Exchange tensors of a checkpoint; renew its blobs and record, and with `witness_too` its ledger."""
    file = run / f"checkpoints/{step}.json"
    record = CheckpointRecord.from_bytes(file.read_bytes())
    data = other_weights(run / f"blobs/{record.blobs[part]}")
    digest = sha256(data).hexdigest()
    rewrite(run / f"blobs/{digest}", data)
    blobs = {**record.blobs, part: digest}
    tensors = {
        f"{name}.{key}": value
        for name, blob in blobs.items()
        for key, value in load((run / f"blobs/{blob}").read_bytes()).items()
    }
    documents = describe_tensors(tensors)
    forged = CheckpointRecord(
        run_id=record.run_id,
        trajectory_id=record.trajectory_id,
        step=step,
        tensors=documents,
        weights_digest=digest_of_documents(tensors_with_prefix(documents, "model")),
        blobs=blobs,
        ledger_chain=record.ledger_chain,
        evaluations_digest=record.evaluations_digest,
    )
    rewrite(file, forged.to_bytes())
    if witness_too:
        _forge_witness(run, step, tensors_with_prefix(tensors, "model"))


def _forge_witness(run: Path, step: int, model: dict[str, Any]) -> None:
    names = json.loads((run / "witness.json").read_bytes())["tensors"]
    sums = [model[name].reshape(-1).view(np.int32).sum(dtype=np.int64) for name in names]
    for file in (run / "ledger").iterdir():
        segment = parse_segment(file.read_bytes())
        if segment.first < step <= segment.stop:
            witness = segment.witness.copy()
            witness[step - 1 - segment.first] = sums
            rewrite(file, _with_witness(segment, witness).to_bytes())


def _with_witness(segment: LedgerSegment, witness: Any) -> LedgerSegment:
    return LedgerSegment(
        first=segment.first,
        chain_before=segment.chain_before,
        rows=segment.rows,
        digests=segment.digests,
        loss=segment.loss,
        witness=witness,
    )
