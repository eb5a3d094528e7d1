"""Evaluation records: stored before the next step, counted as integers, read back by early stopping."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder
from seedbed.runs.sealed_json import Document, is_sealed, open_sealed, seal
from seedbed.storage.object_limits import EVALUATION
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError

_NAME = re.compile(r"evaluations/(?P<split>[a-z]+)-(?P<step>\d+)\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """The counts of one split after `step` completed steps."""

    split: str
    step: int
    document: Document
    """JSON without floats: quantised losses and counts are integers, fractions strings."""
    digest: str


def save_evaluation(folder: RunFolder, *, split: str, step: int, document: Document) -> Evaluation:
    """Store the record of one evaluation; RunFolderConflict where it was stored with other counts."""
    data = seal({"schemaVersion": 1, "split": split, "step": step, "document": document})
    folder.publish(evaluation_path(split, step), data, valid=is_sealed)
    return Evaluation(split=split, step=step, document=document, digest=digest_of(data))


def read_evaluations(
    folder: RunFolder, *, split: str | None = None, up_to: int | None = None
) -> list[Evaluation]:
    """Return the records up to a step, by step and split; RunFolderDamaged names one that does not verify."""
    places = [(int(match["step"]), match["split"]) for match in map(_NAME.fullmatch, _paths(folder)) if match]
    return [
        _read(folder, name, step)
        for step, name in sorted(places)
        if (split is None or name == split) and (up_to is None or step <= up_to)
    ]


def read_evaluation(folder: RunFolder, *, split: str, step: int) -> Evaluation | None:
    """Return one record, None where there is none; RunFolderDamaged where it does not verify."""
    try:
        return _read(folder, split, step)
    except FileNotFoundError:
        return None


def evaluation_path(split: str, step: int) -> str:
    """Return where a record lies."""
    return f"evaluations/{split}-{step}.json"


def evaluations_digest(evaluations: Iterable[Evaluation], *, up_to: int) -> str:
    """Return the digest over the validation records of steps up to `up_to`.

    The test split is evaluated after the last step, so it is no part of the state that training resumes from.
    """
    counted = (record for record in evaluations if record.split == "validation" and record.step <= up_to)
    return digest_of(canonical_json([record.digest for record in sorted(counted, key=lambda r: r.step)]))


def _paths(folder: RunFolder) -> list[str]:
    return folder.objects.list("evaluations")


def _read(folder: RunFolder, split: str, step: int) -> Evaluation:
    path = evaluation_path(split, step)
    try:
        data = folder.objects.read(path, EVALUATION)
        document = open_sealed(data)
    except ValueError as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{path}: {error}") from error
    if (document["split"], document["step"]) != (split, step):
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{path}: it is of another split or step")
    return Evaluation(split=split, step=step, document=document["document"], digest=digest_of(data))
