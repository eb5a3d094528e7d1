"""Check the stored objects of a run folder against its receipt, without recomputation.

Damaged objects raise an error; missing ones are reported, because the rest can still be verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from seedbed.environment import environment_class
from seedbed.receipts import Decided
from seedbed.replay.receipt_location import damaged, read_object
from seedbed.replay.stored_ledger import StoredLedger, stored_ledger
from seedbed.runs import (
    ENVIRONMENT,
    RECIPE,
    RESULT,
    DamagedCheckpoint,
    Evaluation,
    RunFolder,
    checkpoint_steps,
    load_checkpoint,
    read_evaluations,
)
from seedbed.runs.sealed_json import open_sealed
from seedbed.runs.tensor_serialization import describe_tensors
from seedbed.runs.training_result import RESULT_FILE
from seedbed.storage.object_limits import TENSORS
from seedbed_api.canonical_json import canonical_json
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.strict_json import parse_json


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredIntegrity:
    """Result of the check: verified and missing objects of a run folder."""

    folder: RunFolder
    ledger: StoredLedger
    chains: Mapping[int, bytes]
    """Completed steps -> ledger chain."""
    checkpoints: tuple[int, ...]
    """Steps of the stored checkpoints that verify, ascending."""
    evaluations: tuple[Evaluation, ...]
    missing: tuple[str, ...]
    """Names of missing objects."""
    verified: tuple[str, ...]
    """Counts of the objects that agree with the receipt, as text."""

    @property
    def whole(self) -> bool:
        """Return whether the ledger has every step."""
        return not any("ledger" in line for line in self.missing)


def run_length(decided: Decided) -> int:
    """Return the number of steps of a run: those of the last checkpoint in its receipt."""
    return decided.checkpoints[-1][0]


def check_stored_objects(folder: RunFolder, decided: Decided) -> StoredIntegrity:
    """Read the objects of a run folder. Raises RunFolderDamaged with the name of the first damaged one."""
    missing: list[str] = []
    _check_documents(folder, decided, missing)
    files = _check_model_files(folder, decided, missing)
    ledger, chains = _check_ledger(folder, decided, missing)
    evaluations = _check_evaluations(folder, decided, missing)
    complete = not any(line.startswith("evaluations/") for line in missing)
    checkpoints = _check_checkpoints(folder, decided, chains, missing, complete=complete)
    counts = {
        "model file": files,
        "ledger step": len(chains) - 1,
        "checkpoint": len(checkpoints),
        "evaluation": len(evaluations),
    }
    return StoredIntegrity(
        folder=folder,
        ledger=ledger,
        chains=chains,
        checkpoints=checkpoints,
        evaluations=evaluations,
        missing=tuple(missing),
        verified=tuple(
            f"{count} {name}{'' if count == 1 else 's'}" for name, count in counts.items() if count
        ),
    )


def stored_environment(folder: RunFolder, decided: Decided) -> dict[str, Any] | None:
    """Return the environment document of the run, None if it is missing.

    Raises RunFolderDamaged if it is not the environment of the receipt.
    """
    data = read_object(folder, ENVIRONMENT)
    if data is None:
        return None
    try:
        document: dict[str, Any] = parse_json(data)
        same = environment_class(document) == decided.environment_class
    except ValueError as error:
        raise damaged(folder, ENVIRONMENT, "it is no JSON") from error
    if not same:
        raise damaged(folder, ENVIRONMENT, "it is not the environment of the receipt")
    return document


def _check_documents(folder: RunFolder, decided: Decided, missing: list[str]) -> None:
    recipe = read_object(folder, RECIPE)
    if recipe is None:
        missing.append(RECIPE)
    elif recipe != canonical_json(dict(decided.recipe)):
        raise damaged(folder, RECIPE, "it is not the recipe of the receipt")
    if stored_environment(folder, decided) is None:
        missing.append(ENVIRONMENT)
    for path in (RESULT_FILE, RESULT):
        _check_end(folder, path, decided, missing)


def _check_end(folder: RunFolder, path: str, decided: Decided, missing: list[str]) -> None:
    data = read_object(folder, path)
    if data is None:
        missing.append(path)
        return
    try:
        document = open_sealed(data)
        result = document.get("outcome", document)
        same = (
            result["weights_digest"] == decided.weights_digest
            and result["ledger_chain"] == decided.ledger_chain
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged(folder, path, str(error) or type(error).__name__) from error
    if not same:
        raise damaged(folder, path, "its weights or its ledger differ from those of the receipt")


def _check_model_files(folder: RunFolder, decided: Decided, missing: list[str]) -> int:
    found = 0
    for path, digest in sorted(decided.subjects.items()):
        data = read_object(folder, path, TENSORS)
        if data is None:
            missing.append(path)
        elif sha256(data).hexdigest() != digest:
            raise damaged(folder, path, "its sha256 is not the one in the receipt")
        else:
            found += 1
    return found


def _check_ledger(
    folder: RunFolder, decided: Decided, missing: list[str]
) -> tuple[StoredLedger, dict[int, bytes]]:
    ledger, end = stored_ledger(folder), run_length(decided)
    chains = ledger.check(shape=(decided.leaves, decided.leaf_rows))
    gaps = [f"{gap.start + 1}..{gap.stop}" for gap in ledger.gaps(stop=end)]
    if gaps:
        missing.append(f"ledger of steps {', '.join(gaps)}")
    if ledger.stop > end:
        raise damaged(folder, "ledger", f"it has {ledger.stop} steps, the receipt's run had {end}")
    if end in chains and chains[end].hex() != decided.ledger_chain:
        raise damaged(folder, "ledger", "the end of its chain differs from the receipt")
    return ledger, chains


def _check_evaluations(folder: RunFolder, decided: Decided, missing: list[str]) -> tuple[Evaluation, ...]:
    try:
        records = read_evaluations(folder, up_to=run_length(decided))
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        raise UserError(error.reason, error.message) from error
    found = {(record.split, record.step): record for record in records}
    weights = dict(decided.checkpoints)
    for split, step in _due(decided):
        record = found.get((split, step))
        path = f"evaluations/{split}-{step}.json"
        if record is None:
            missing.append(path)
        elif split == "validation" and record.document.get("weightsDigest") != weights[step]:
            raise damaged(folder, path, "it is of other weights than the receipt names")
    return tuple(records)


def _due(decided: Decided) -> list[tuple[str, int]]:
    due = [("test", run_length(decided))] if "test/loss" in decided.metrics else []
    if "validation/loss" in decided.metrics:
        due += [("validation", step) for step, _ in decided.checkpoints]
    return due


def _check_checkpoints(
    folder: RunFolder, decided: Decided, chains: Mapping[int, bytes], missing: list[str], *, complete: bool
) -> tuple[int, ...]:
    usable = []
    for step in checkpoint_steps(folder):
        try:
            _check_checkpoint(folder, decided, chains, step)
        except DamagedCheckpoint as damage:
            if not isinstance(damage.__cause__, FileNotFoundError) and complete:
                line = f"{damage}; restore it from a copy, or delete it to verify what is left"
                raise UserError("RunFolderDamaged", line) from damage
            missing.append(f"a part of the checkpoint of step {step}")
        else:
            usable.append(step)
    return tuple(usable)


def _check_checkpoint(folder: RunFolder, decided: Decided, chains: Mapping[int, bytes], step: int) -> None:
    record, tensors = load_checkpoint(folder, step)
    path = f"checkpoints/{step}.json"
    if describe_tensors(tensors) != record.tensors:
        raise damaged(folder, path, "its blobs have other tensors than it lists")
    if chains.get(step, bytes.fromhex(record.ledger_chain)).hex() != record.ledger_chain:
        raise damaged(folder, path, "its ledger chain is not the ledger's")
    if dict(decided.checkpoints).get(step, record.weights_digest) != record.weights_digest:
        raise damaged(folder, path, "its weights are not those of the receipt")
