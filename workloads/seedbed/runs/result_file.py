"""What a finished run says of itself: `result.json`, written last, a function of the run identity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from seedbed.runs.evaluation_records import Evaluation
from seedbed.runs.run_folder import RESULT, RunFolder
from seedbed.runs.sealed_json import is_sealed, open_sealed, seal
from seedbed.runs.training_result import TrainingResult
from seedbed.storage import object_limits
from seedbed_api.canonical_json import canonical_json, digest_of
from seedbed_api.errors import InfrastructureError

OWNER_KIND = "result"
"""Kind of the owner record of a result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The end of a run, and where its proof lies."""

    run_id: str
    environment_class: str
    dataset_digest: str
    samples: int
    """Train rows of an epoch."""
    outcome: TrainingResult
    receipt_digest: str
    """Digest of the deterministic part of the receipt."""
    metrics: dict[str, str]
    """Final metrics by name, as the receipt has them."""

    def to_bytes(self) -> bytes:
        """Return the result as stored."""
        return seal(asdict(self))


def save_result(folder: RunFolder, result: Result, evaluations: Sequence[Evaluation]) -> None:
    """Store the result, after everything that it names; from now on the run is complete.

    `evaluations` are the stored ones up to its step.
    """
    folder.vouch(OWNER_KIND, result_digest(result, evaluations))
    folder.publish(RESULT, result.to_bytes(), valid=is_sealed)


def result_digest(result: Result, evaluations: Iterable[Evaluation]) -> str:
    """Return the digest of a result, of the receipt that it names, and of all stored evaluations."""
    records = [record.digest for record in evaluations]
    return digest_of(canonical_json({"result": digest_of(result.to_bytes()), "evaluations": records}))


def read_result(folder: RunFolder) -> Result | None:
    """Return the stored result, None while the run is not complete."""
    try:
        document = open_sealed(folder.objects.read(RESULT, object_limits.RESULT))
        return Result(**{**document, "outcome": TrainingResult.from_document(document["outcome"])})
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError) as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{RESULT}: {error}") from error
