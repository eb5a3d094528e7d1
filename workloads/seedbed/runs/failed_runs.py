"""Failures of runs that every retry would repeat, stored as `failure.json` so that no sweep repeats them.

Only failures caused by the recipe's own values are stored, never those of a machine.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.owner_records import NO_OWNER_RECORD
from seedbed.runs.run_folder import RunFolder
from seedbed.storage import OversizedObject, object_limits
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.strict_json import parse_json

logger = logging.getLogger(__name__)

FAILURE = "failure.json"
OWNER_KIND = "failure"
"""Kind of the owner record of a failure."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFailure:
    """Why a run failed."""

    reason: str
    """CamelCase."""
    problem: str
    """One line for people."""
    samples: int
    """Rows of an epoch, which map steps of evaluations to epochs."""


def save_failure(folder: RunFolder, failure: RunFailure) -> None:
    """Store a failure for its owner; without an owner it is not stored, because nobody could believe it."""
    if folder.owner is None:
        return
    document = {
        "reason": failure.reason,
        "problem": failure.problem,
        "samples": failure.samples,
        "evaluations": _evaluations(folder),
    }
    data = canonical_json(document)
    folder.vouch(OWNER_KIND, digest_of(data))
    folder.objects.put(FAILURE, data)


def read_failure(folder: RunFolder) -> RunFailure | None:
    """Return the stored failure of a run, where its owner wrote it and no evaluation has changed; else None.

    Without an owner none is believed: nothing else in the folder could agree with it, and the run fails again
    by itself.
    """
    if folder.owner is None:
        return None
    try:
        data = folder.objects.read(FAILURE, object_limits.FAILURE)
    except FileNotFoundError:
        return None
    except OversizedObject:
        data = b""
    try:
        document = parse_json(data)
        failure = RunFailure(
            reason=str(document["reason"]),
            problem=str(document["problem"]),
            samples=int(document["samples"]),
        )
        same = document["evaluations"] == _evaluations(folder)
        believed = same and folder.believes(OWNER_KIND, digest_of(data))
    except (ValueError, KeyError, TypeError):
        believed = False
    if not believed:
        logger.warning("%s/%s is not used: %s", folder.url, FAILURE, NO_OWNER_RECORD)
        folder.set_aside(FAILURE)  # the run is trained again, and fails again
    return failure if believed else None


def _evaluations(folder: RunFolder) -> str:
    """Return the digest over the validation records, which a sweep reads beside the failure."""
    records = read_evaluations(folder, split="validation")
    return digest_of(canonical_json([record.digest for record in records]))
