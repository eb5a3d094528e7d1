"""Failures of runs that every retry would repeat, stored as `failure.json` so that no sweep repeats them.

Only failures caused by the recipe's own values are stored, never those of a machine.
"""

from __future__ import annotations

from dataclasses import dataclass

from seedbed.runs.run_folder import RunFolder
from seedbed_api.canonical_json import canonical_json
from seedbed_api.strict_json import parse_json

FAILURE = "failure.json"


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
    """Store a failure; of two at the same time the first stays."""
    document = {"reason": failure.reason, "problem": failure.problem, "samples": failure.samples}
    folder.objects.create(FAILURE, canonical_json(document))


def read_failure(folder: RunFolder) -> RunFailure | None:
    """Return the stored failure of a run; None if there is none or it is damaged."""
    try:
        document = parse_json(folder.objects.read(FAILURE))
        return RunFailure(
            reason=str(document["reason"]),
            problem=str(document["problem"]),
            samples=int(document["samples"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # damaged: the run is trained again, and fails again
        folder.objects.delete(FAILURE)
        return None
