"""Read the stored record of a run, finished or not: its receipt, its run folder, or both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.environment import environment_class
from seedbed.receipts import Receipt, read_receipt
from seedbed.replay.receipt_location import (
    damaged,
    is_run_folder,
    read_object,
    read_only_run_folder,
    split_reference,
)
from seedbed.replay.run_differences import Names
from seedbed.replay.stored_ledger import StoredLedger, stored_ledger
from seedbed.runs import (
    ENVIRONMENT,
    RECEIPT,
    RECIPE,
    Evaluation,
    RunFolder,
    checkpoint_steps,
    read_evaluations,
)
from seedbed.runs.training_result import read_training_result
from seedbed.storage import Storage
from seedbed.training.checkpointer import WITNESS
from seedbed_api.errors import InfrastructureError, UserError, refusal
from seedbed_api.run_identity import run_id
from seedbed_api.strict_json import parse_json


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """The stored record of a run, for a comparison."""

    shown: str
    recipe: Mapping[str, Any]
    environment_class: str
    environment: Mapping[str, Any] | None
    receipt: Receipt | None
    folder: RunFolder | None
    ledger: StoredLedger | None
    names: Names
    """Names of the tensors in the order of the witness; None if they are not stored."""

    def checkpoints(self) -> list[int]:
        """Return the steps of the stored checkpoints, ascending."""
        return [] if self.folder is None else checkpoint_steps(self.folder)

    def evaluations(self) -> dict[tuple[int, str], Evaluation]:
        """Return the evaluation records by (step, split)."""
        if self.folder is None:
            return {}
        return {(record.step, record.split): record for record in _evaluations_of(self.folder)}

    def weights(self) -> str | None:
        """Return the weights digest of the model, None if the run has not ended."""
        if self.receipt is not None:
            return self.receipt.decided.weights_digest
        outcome = None if self.folder is None else read_training_result(self.folder)
        return None if outcome is None else outcome.weights_digest

    def evaluated_weights(self) -> dict[int, str]:
        """Return the weights digest at each evaluation of the receipt, by step."""
        return {} if self.receipt is None else dict(self.receipt.decided.checkpoints)


def open_run_record(reference: str, *, secret: Path | None = None) -> RunRecord:
    """Open a receipt or a run folder by path or URL. Raises UserError if both are missing or damaged."""
    storage, name = split_reference(reference, secret=secret)
    is_folder = is_run_folder(storage)
    if name != RECEIPT or storage.exists(RECEIPT):
        receipt = read_receipt(storage, name=name)
        identity = receipt.decided.run_id
        return _run_record(
            f"{storage.url}/{name}", receipt, read_only_run_folder(storage, identity) if is_folder else None
        )
    if not is_folder:
        fix = "name a receipt.json or a run folder (…/runs/<run>)"
        raise UserError(
            "InvalidReceipt", refusal("run", storage.url, "there is neither receipt nor run", fix)
        )
    return _run_record(storage.url, None, read_only_run_folder(storage, _identity(storage)))


def _run_record(shown: str, receipt: Receipt | None, folder: RunFolder | None) -> RunRecord:
    environment = None if folder is None else _json(folder, ENVIRONMENT)
    recipe: Mapping[str, Any] | None = None if folder is None else _json(folder, RECIPE)
    if receipt is not None:
        recipe, class_digest = receipt.decided.recipe, receipt.decided.environment_class
    else:
        assert environment is not None
        class_digest = environment_class(environment)
    assert recipe is not None
    return RunRecord(
        shown=shown,
        recipe=recipe,
        environment_class=class_digest,
        environment=environment,
        receipt=receipt,
        folder=folder,
        ledger=None if folder is None else stored_ledger(folder),
        names=_names(folder),
    )


def _identity(storage: Storage) -> str:
    """Return the identity of a run without a receipt, from its recipe and environment document."""
    folder = read_only_run_folder(storage, "")
    recipe, environment = _json(folder, RECIPE), _json(folder, ENVIRONMENT)
    for path, document in ((RECIPE, recipe), (ENVIRONMENT, environment)):
        if document is None:
            raise damaged(folder, path, "it is missing, and there is no receipt to take its place")
    assert recipe is not None
    assert environment is not None
    version = environment.get("arithmeticVersion", 0)
    return run_id(recipe, arithmetic_version=version, environment_class=environment_class(environment))


def _names(folder: RunFolder | None) -> Names:
    document = None if folder is None else _json(folder, WITNESS)
    return None if document is None else [str(name) for name in document.get("tensors", [])]


def _json(folder: RunFolder, path: str) -> dict[str, Any] | None:
    data = read_object(folder, path)
    if data is None:
        return None
    try:
        document = parse_json(data)
    except ValueError as error:
        raise damaged(folder, path, "it is no JSON") from error
    if not isinstance(document, dict):
        raise damaged(folder, path, "it is no JSON object")
    return document


def _evaluations_of(folder: RunFolder) -> list[Evaluation]:
    try:
        return read_evaluations(folder)
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        raise UserError(error.reason, error.message) from error
