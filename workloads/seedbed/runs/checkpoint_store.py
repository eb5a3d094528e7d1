"""Checkpoints: content-addressed blobs first, the small step record last; the newest that verifies counts.

A record's bytes are a function of run identity and step: nothing about workers, ranks, generators or times.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any

from pydantic import NonNegativeInt, StringConstraints, TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from seedbed.runs.evaluation_records import Evaluation, evaluations_digest, read_evaluations
from seedbed.runs.owner_records import NO_OWNER_RECORD
from seedbed.runs.run_folder import RunFolder, conflict_message
from seedbed.runs.sealed_json import Document, is_sealed, open_sealed, seal
from seedbed.runs.tensor_serialization import (
    MODEL,
    OPTIMIZER,
    Array,
    TensorDocument,
    describe_tensors,
    deserialize,
    digest_of_documents,
    model_of,
    serialize,
    tensors_with_prefix,
)
from seedbed.storage.object_limits import CHECKPOINT_RECORD, TENSORS
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import InfrastructureError
from seedbed_api.validation_errors import first_problem

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
_PARTS = (MODEL, OPTIMIZER)


class DamagedCheckpoint(InfrastructureError):  # noqa: N818 - a state of an object in the store
    """An object of a checkpoint is missing or holds other bytes; the message names it."""

    def __init__(self, message: str) -> None:
        super().__init__("RunFolderDamaged", message)

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.message,))


class ForgedCheckpoint(DamagedCheckpoint):
    """A checkpoint whose seals are good, and which this run or this owner has not written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckpointRecord:
    """What a checkpoint holds, without the tensors themselves."""

    run_id: str
    trajectory_id: str
    """Identity of the state after `step` steps, whatever comes later."""
    step: int
    """Number of completed steps."""
    tensors: dict[str, TensorDocument]
    """By `model.<name>` and `optimizer.<name>`."""
    weights_digest: str
    """Digest of the model that these tensors make: with averages, where the run has them."""
    blobs: dict[str, str]
    """Hex sha256 of the safetensors blobs `model` and `optimizer`."""
    ledger_chain: str
    """Hex chain value after the last completed step."""
    evaluations_digest: str
    """Digest over the evaluation records of steps up to this one."""

    def to_bytes(self) -> bytes:
        """Return the record as stored."""
        document = {
            "schemaVersion": SCHEMA_VERSION,
            "runID": self.run_id,
            "trajectoryID": self.trajectory_id,
            "step": self.step,
            "tensors": self.tensors,
            "weightsDigest": self.weights_digest,
            "blobs": self.blobs,
            "ledgerChain": self.ledger_chain,
            "evaluationsDigest": self.evaluations_digest,
        }
        return seal(document)

    @staticmethod
    def from_bytes(data: bytes) -> CheckpointRecord:
        """Return the record of stored bytes; ValueError where they are damaged or of another schema."""
        document = open_sealed(data)
        if document.get("schemaVersion") != SCHEMA_VERSION:
            raise ValueError(f"schema version {document.get('schemaVersion')}, {SCHEMA_VERSION} is known")
        return _record_of(document)


_Hex = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _TensorEntry(TypedDict):
    dtype: str
    shape: list[NonNegativeInt]
    sha256: _Hex


class _Blobs(TypedDict):
    model: _Hex
    optimizer: _Hex


class _RecordDocument(TypedDict):
    schemaVersion: int
    runID: str
    trajectoryID: str
    step: NonNegativeInt
    tensors: dict[str, _TensorEntry]
    weightsDigest: str
    blobs: _Blobs
    ledgerChain: str
    evaluationsDigest: str


_DOCUMENT = TypeAdapter(_RecordDocument)


def _record_of(document: Document) -> CheckpointRecord:
    try:
        _DOCUMENT.validate_python(document, strict=True)
    except ValidationError as error:
        raise ValueError(": ".join(first_problem(error))) from error
    return CheckpointRecord(
        run_id=document["runID"],
        trajectory_id=document["trajectoryID"],
        step=document["step"],
        tensors=document["tensors"],
        weights_digest=document["weightsDigest"],
        blobs=document["blobs"],
        ledger_chain=document["ledgerChain"],
        evaluations_digest=document["evaluationsDigest"],
    )


def checkpoint_record(
    tensors: Mapping[str, Any],
    *,
    run_id: str,
    trajectory_id: str,
    step: int,
    ledger_chain: bytes,
    evaluations: Iterable[Evaluation],
) -> CheckpointRecord:
    """Return the record of a full named state after `step` completed steps.

    An evaluation that is due after `step` steps is stored before, and is among `evaluations`.
    """
    documents = describe_tensors(tensors)
    return CheckpointRecord(
        run_id=run_id,
        trajectory_id=trajectory_id,
        step=step,
        tensors=documents,
        weights_digest=digest_of_documents(model_of(documents)),
        blobs={name: sha256(data).hexdigest() for name, data in _blobs(tensors).items()},
        ledger_chain=ledger_chain.hex(),
        evaluations_digest=evaluations_digest(evaluations, up_to=step),
    )


def save_checkpoint(folder: RunFolder, record: CheckpointRecord, tensors: Mapping[str, Any]) -> None:
    """Write the blobs, then the record; what is there already is verified, what is damaged is restored.

    The owner's record comes before that of the checkpoint, which is lost to its owner without it.
    """
    data = record.to_bytes()
    _require_same_as_before(folder, record.step, data)
    for name, blob in _blobs(tensors).items():
        digest = sha256(blob).hexdigest()
        assert record.blobs[name] == digest, f"the record of step {record.step} is of other tensors ({name})"
        folder.publish(blob_path(digest), blob, valid=lambda _theirs: False)
    folder.vouch(_kind(record.step), digest_of(data))
    valid = is_sealed if folder.owner is None else lambda _theirs: False
    folder.publish(record_path(record.step), data, valid=valid)


def _require_same_as_before(folder: RunFolder, step: int, ours: bytes) -> None:
    """Raise RunFolderConflict where the owner has written another record of this step."""
    before = None if folder.owner is None else folder.vouched(_kind(step))
    if before in (None, digest_of(ours)) or not folder.objects.exists(record_path(step)):
        return
    theirs = folder.objects.read(record_path(step), CHECKPOINT_RECORD)
    if digest_of(theirs) == before:
        message = conflict_message(f"{folder.url}/{record_path(step)}", theirs, ours)
        raise InfrastructureError("RunFolderConflict", message)


def _kind(step: int) -> str:
    """Return the kind of the owner record of a checkpoint."""
    return f"checkpoints/{step}"


def checkpoint_steps(folder: RunFolder) -> list[int]:
    """Return the steps of all records, ascending, verified or not."""
    names = (path.removeprefix("checkpoints/") for path in folder.objects.list("checkpoints"))
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isdigit())


Accept = Callable[[CheckpointRecord, Mapping[str, Array]], None]
"""Raises DamagedCheckpoint for a checkpoint that must not be used."""


def latest_checkpoint(
    folder: RunFolder,
    *,
    up_to: int | None = None,
    accept: Accept | None = None,
    on_forged: Callable[[int], None] | None = None,
) -> tuple[CheckpointRecord, dict[str, Array]] | None:
    """Return the newest record (of at most `up_to` steps) that verifies, with its tensors, or None.

    One whose blobs or evaluation records are missing or damaged, or that `accept` refuses, is skipped with a
    warning that names them; `on_forged` is called with the step of each forged one.
    """
    for step in reversed(checkpoint_steps(folder)):
        if up_to is not None and step > up_to:
            continue
        try:
            found = load_checkpoint(folder, step)
            if accept is not None:
                accept(*found)
        except DamagedCheckpoint as damage:
            logger.warning("checkpoint of step %d is not used: %s", step, damage)
            if on_forged is not None and isinstance(damage, ForgedCheckpoint):
                on_forged(step)
        else:
            return found
    return None


def load_checkpoint(folder: RunFolder, step: int) -> tuple[CheckpointRecord, dict[str, Array]]:
    """Return the record of a step and its tensors; `Damaged` naming the object that does not verify."""
    record = read_record(folder, step)
    tensors: dict[str, Array] = {}
    for name in _PARTS:
        for tensor, array in _read_blob(folder, record.blobs[name]).items():
            tensors[f"{name}.{tensor}"] = array
    _check_evaluations(folder, record)
    return record, tensors


def read_record(folder: RunFolder, step: int) -> CheckpointRecord:
    """Return the record of a step without its tensors; `Damaged` where it is missing or does not verify."""
    shown = f"{folder.url}/{record_path(step)}"
    try:
        data = folder.objects.read(record_path(step), CHECKPOINT_RECORD)
        record = CheckpointRecord.from_bytes(data)
    except (ValueError, KeyError, FileNotFoundError) as error:
        raise DamagedCheckpoint(f"{shown}: {error}") from error
    if record.run_id != folder.run_id or record.step != step:
        raise DamagedCheckpoint(f"{shown}: it is the record of step {record.step} of run {record.run_id}")
    if not folder.believes(_kind(step), digest_of(data)):
        raise ForgedCheckpoint(f"{shown}: {NO_OWNER_RECORD}")
    return record


def checkpointed_evaluations(folder: RunFolder) -> list[Evaluation]:
    """Return the validation records that the newest checkpoint whose record verifies has a digest over.

    Reads no tensors. A later record is computed again from that checkpoint.
    """
    for step in reversed(checkpoint_steps(folder)):
        try:
            record = read_record(folder, step)
            _check_evaluations(folder, record)
        except DamagedCheckpoint as damage:
            logger.warning("checkpoint of step %d is not counted: %s", step, damage)
        else:
            return read_evaluations(folder, split="validation", up_to=step)
    return []


def prune_checkpoints(
    folder: RunFolder, *, keep: int, protect: Iterable[int] = (), newest: int | None = None
) -> list[int]:
    """Delete records but the last `keep` up to `newest` and those of `protect`; return the deleted steps.

    `newest` is the step that was just written, by default the highest listed. Records after it that do not
    verify go as well: the run resumed before them. Of the blobs only those go that a deleted record named
    and no kept one names: another writer's blobs come before their record. So what a killed writer, or a
    killed pruning, left unnamed stays, until a checkpoint with the same bytes names it again.
    Only the holder of the highest attempt may call it.
    """
    assert keep >= 1
    steps = checkpoint_steps(folder)
    if not steps and newest is None:
        return []
    newest = steps[-1] if newest is None else newest
    assert newest in steps, f"{folder.url}: the record of step {newest} is not listed among {steps}"
    written = [step for step in steps if step <= newest]
    later = {step for step in steps if step > newest and _verifies(folder, step)}
    kept = {*written[-keep:], *protect, *later}
    gone = [step for step in steps if step not in kept]
    _delete(folder, gone, blobs=_blobs_named(folder, gone) - _blobs_named(folder, kept.intersection(steps)))
    return gone


def _delete(folder: RunFolder, steps: Iterable[int], *, blobs: Iterable[str]) -> None:
    """Delete records, then blobs: no reader meets a record whose blobs are gone."""
    for step in steps:
        folder.objects.delete(record_path(step))
        folder.forget(_kind(step))
    for digest in sorted(blobs):
        folder.objects.delete(blob_path(digest))


def _verifies(folder: RunFolder, step: int) -> bool:
    try:
        load_checkpoint(folder, step)
    except DamagedCheckpoint as damage:
        logger.warning("checkpoint of step %d is deleted: %s", step, damage)
        return False
    return True


def record_path(step: int) -> str:
    """Return where the record of a step lies."""
    return f"checkpoints/{step}.json"


def blob_path(digest: str) -> str:
    """Return where the blob of a hex sha256 lies."""
    return f"blobs/{digest}"


def _blobs(tensors: Mapping[str, Any]) -> dict[str, bytes]:
    parts = {name: tensors_with_prefix(tensors, name) for name in _PARTS}
    assert sum(map(len, parts.values())) == len(tensors), "tensors are named model.<name> or optimizer.<name>"
    return {name: serialize(values) for name, values in parts.items()}


def _read_blob(folder: RunFolder, digest: str) -> dict[str, Array]:
    path = blob_path(digest)
    try:
        data = folder.objects.read(path, TENSORS)
        if sha256(data).hexdigest() != digest:
            raise ValueError("its sha256 is another one")
        return deserialize(data)
    except (ValueError, FileNotFoundError) as error:
        raise DamagedCheckpoint(f"{folder.url}/{path}: {error}") from error


def _check_evaluations(folder: RunFolder, record: CheckpointRecord) -> None:
    try:
        found = evaluations_digest(
            read_evaluations(folder, split="validation", up_to=record.step), up_to=record.step
        )
    except InfrastructureError as error:
        if error.reason != "RunFolderDamaged":
            raise
        raise DamagedCheckpoint(error.message) from error
    if found != record.evaluations_digest:
        raise DamagedCheckpoint(
            f"{folder.url}/evaluations: a record up to step {record.step} is missing or another one"
        )


def _blobs_named(folder: RunFolder, steps: Iterable[int]) -> set[str]:
    named: set[str] = set()
    for step in steps:
        try:
            named.update(read_record(folder, step).blobs.values())
        except DamagedCheckpoint as damage:
            logger.warning("checkpoint of step %d is not counted: %s", step, damage)
    return named
