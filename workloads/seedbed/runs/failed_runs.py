"""Runs that fail whenever they are tried: why is kept in the run folder, so that none is trained again.

A failure by the recipe's own values is a result. What a machine did to a run is none, and is never kept.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder
from seedbed_api.canonical_json import canonical_json

FAILURE = "failure.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFailure:
    """Why a run failed."""

    reason: str
    """CamelCase."""
    problem: str
    """In one line, for people."""
    samples: int
    """Rows of an epoch, by which its evaluations tell their epochs."""


def save_failure(folder: RunFolder, failure: RunFailure) -> None:
    """Keep it; of two that were told at once the first stays."""
    document = {"reason": failure.reason, "problem": failure.problem, "samples": failure.samples}
    folder.objects.create(FAILURE, canonical_json(document))


def read_failure(folder: RunFolder) -> RunFailure | None:
    """Return why a run failed before; None where it did not, or where nobody can read it."""
    try:
        document = json.loads(folder.objects.read(FAILURE))
        return RunFailure(
            reason=str(document["reason"]),
            problem=str(document["problem"]),
            samples=int(document["samples"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # damaged: it is trained again, and fails again
        folder.objects.delete(FAILURE)
        return None
