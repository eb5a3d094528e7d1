"""Read, verify and save receipts; an error of verification names the changed part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seedbed.receipts.receipt_statement import (
    BUILD_TYPE,
    PREDICATE_TYPE,
    SEAL,
    STATEMENT_TYPE,
    Decided,
    Statement,
    chained,
    deterministic_digest,
    seal_of,
    section_digests,
)
from seedbed.runs import RECEIPT, RunFolder
from seedbed.storage import Storage, object_limits, open_storage
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import UserError, refusal
from seedbed_api.run_identity import run_id
from seedbed_api.strict_json import parse_json

_STRUCTURE = (KeyError, TypeError, IndexError, ValueError, AttributeError, AssertionError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Receipt:
    """A receipt whose structure and digests were verified."""

    document: Statement
    decided: Decided
    deterministic_digest: str
    """Equal for every number of workers, restart, store and feed."""
    execution: Mapping[str, Any]
    """Attempts, workers and other facts that the digest does not cover."""
    data: bytes
    """The receipt as it is stored: what a signature is about."""


def read_receipt(
    source: Path | Storage, *, secret: Path | None = None, name: str = "receipt.json"
) -> Receipt:
    """Return the verified receipt of a file, or of a run folder's storage.

    Raises UserError InvalidReceipt if there is none, ReceiptTampered with the name of the changed part.
    """
    storage, path = _storage_of(source, secret, name)
    try:
        data = storage.read(path, object_limits.RECEIPT)
    except FileNotFoundError as error:
        fix = "name a receipt.json or a finished run folder"
        raise _invalid(f"{storage.url}/{path}", "there is no receipt", fix) from error
    return verify_receipt(data, shown=f"{storage.url}/{path}")


def verify_receipt(data: bytes, *, shown: str) -> Receipt:
    """Parse and verify a receipt; `shown` names it in errors."""
    try:
        document = parse_json(data)
        _check_kind(document, shown)
        seal = _seal(document)
    except UserError:
        raise
    except _STRUCTURE as error:
        fix = "restore the file as it was written"
        raise _invalid(shown, f"is no receipt ({type(error).__name__}: {error})", fix) from error
    try:
        _check_sections(document, seal, shown)
        _check_consistency(document, shown)
        return _receipt_of(document, seal, data)
    except _STRUCTURE as error:
        raise _tampered(shown, f"{type(error).__name__}: {error}") from error


def is_receipt(data: bytes) -> bool:
    """Return whether bytes are a receipt that verifies."""
    try:
        verify_receipt(data, shown="receipt.json")
    except UserError:
        return False
    return True


def same_outcome(theirs: bytes, ours: bytes) -> bool:
    """Return whether two receipts verify and have the same deterministic digest."""
    if not (is_receipt(theirs) and is_receipt(ours)):
        return False
    first, second = (verify_receipt(data, shown="receipt.json") for data in (theirs, ours))
    return first.deterministic_digest == second.deterministic_digest


def to_bytes(document: Statement) -> bytes:
    """Return the bytes of a Statement as they are stored."""
    return canonical_json(document)


def _storage_of(source: Path | Storage, secret: Path | None, name: str) -> tuple[Storage, str]:
    if not isinstance(source, Path):
        return source, name
    if source.is_dir():
        return open_storage(str(source), secret=secret), name
    return open_storage(str(source.parent), secret=secret), source.name


def _check_kind(document: Any, shown: str) -> None:
    kinds = {
        "_type": (document["_type"], STATEMENT_TYPE),
        "predicateType": (document["predicateType"], PREDICATE_TYPE),
        "buildType": (document["predicate"]["buildDefinition"]["buildType"], BUILD_TYPE),
    }
    for field, (found, expected) in kinds.items():
        if found != expected:
            raise _invalid(shown, f"{field} is {found!r}", f"give a receipt of {expected}")


def _seal(document: Statement) -> dict[str, Any]:
    seals = [b for b in document["predicate"]["runDetails"]["byproducts"] if b["name"] == SEAL]
    if len(seals) != 1:
        raise ValueError(f"{len(seals)} seals")
    return dict(seals[0])


def _check_sections(document: Statement, seal: dict[str, Any], shown: str) -> None:
    recorded, found = seal["annotations"]["sections"], section_digests(document)
    for name in sorted(recorded.keys() | found.keys()):
        if recorded.get(name) != found.get(name):
            raise _tampered(shown, f"{name} was changed")
    if seal["annotations"]["deterministicDigest"] != deterministic_digest(found):
        raise _tampered(shown, "deterministicDigest was changed")
    if seal != seal_of(document):
        raise _tampered(shown, "a part outside of the deterministic digest was changed")


def _check_consistency(document: Statement, shown: str) -> None:
    """Check that the parts agree with each other, also in a receipt whose seal was computed again."""
    definition = document["predicate"]["buildDefinition"]
    external, internal = definition["externalParameters"], definition["internalParameters"]
    byproducts = _byproducts(document)
    version, environment = internal["arithmeticVersion"], internal["environmentClass"]
    if external["runID"] != run_id(
        external["recipe"], arithmetic_version=version, environment_class=environment
    ):
        raise _tampered(shown, "externalParameters.runID is not the identity of recipe and environment")
    if external["recipe"]["dataset"]["digest"] != _digest(_dependencies(document)["dataset"]):
        raise _tampered(shown, "resolvedDependencies/dataset is not the dataset of the recipe")
    started = external["recipe"].get("model", {}).get("weights", {}).get("digest")
    if started != (_digest(_dependencies(document)["weights"]) if started else None):
        raise _tampered(shown, "resolvedDependencies/weights are not the weights of the recipe")
    entries = byproducts["checkpoints"]["annotations"]["chain"]
    links = chained([(entry["step"], entry["weightsDigest"]) for entry in entries])
    for position, (entry, link) in enumerate(zip(entries, links, strict=True)):
        if entry != link:
            raise _tampered(
                shown, f"byproducts/checkpoints[{position}] (step {entry['step']}) breaks the chain"
            )
    if entries and _digest(byproducts["weights"]) not in {entry["weightsDigest"] for entry in entries}:
        raise _tampered(shown, "byproducts/weights are not the weights of any checkpoint")


def _receipt_of(document: Statement, seal: dict[str, Any], data: bytes) -> Receipt:
    definition = document["predicate"]["buildDefinition"]
    external, internal = definition["externalParameters"], definition["internalParameters"]
    dependencies, byproducts = _dependencies(document), _byproducts(document)
    entries = byproducts["checkpoints"]["annotations"]["chain"]
    decided = Decided(
        run_id=external["runID"],
        recipe=external["recipe"],
        leaves=internal["leaves"],
        leaf_rows=internal["leafRows"],
        arithmetic_version=internal["arithmeticVersion"],
        environment_class=internal["environmentClass"],
        dataset_digest=_digest(dependencies["dataset"]),
        code_digest=_digest(dependencies["code"]) if "code" in dependencies else None,
        first_weights_digest=_digest(dependencies["weights"]) if "weights" in dependencies else None,
        subjects={entry["name"]: entry["digest"]["sha256"] for entry in document["subject"]},
        total_steps=internal["totalSteps"],
        ledger_chain=byproducts["ledger"]["digest"]["sha256"],
        weights_digest=_digest(byproducts["weights"]),
        checkpoints=tuple((entry["step"], entry["weightsDigest"]) for entry in entries),
        metrics=byproducts["metrics"]["annotations"],
    )
    return Receipt(
        document=document,
        decided=decided,
        deterministic_digest=seal["annotations"]["deterministicDigest"],
        execution=document["predicate"]["runDetails"]["seedbed_execution"],
        data=data,
    )


def _dependencies(document: Statement) -> dict[str, Any]:
    return {
        entry["name"]: entry for entry in document["predicate"]["buildDefinition"]["resolvedDependencies"]
    }


def _byproducts(document: Statement) -> dict[str, Any]:
    return {entry["name"]: entry for entry in document["predicate"]["runDetails"]["byproducts"]}


def _digest(resource: Mapping[str, Any]) -> str:
    return f"sha256:{resource['digest']['sha256']}"


def _invalid(shown: str, problem: str, fix: str) -> UserError:
    return UserError("InvalidReceipt", refusal("receipt", shown, problem, fix))


def _tampered(shown: str, problem: str) -> UserError:
    fix = "restore the file as it was written; nothing in it can be trusted"
    return UserError("ReceiptTampered", refusal("receipt", shown, problem, fix))


def save_receipt(folder: RunFolder, document: Statement) -> Receipt:
    """Write the receipt and return the stored one.

    Raises InfrastructureError RunFolderConflict if a receipt of another outcome is stored already.
    """
    folder.publish(RECEIPT, to_bytes(document), valid=is_receipt, agrees=same_outcome)
    return read_receipt(folder.objects)


def receipt_digest(receipt: Receipt) -> str:
    """Return `sha256:<hex>` of the receipt's bytes, as `status.receipt.digest` shows it."""
    return digest_of(to_bytes(receipt.document))
