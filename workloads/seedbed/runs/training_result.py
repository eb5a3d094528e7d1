"""The result of a training in the run folder (outcome.json): a function of the run identity alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seedbed.runs.run_folder import RunFolder
from seedbed.runs.sealed_json import is_sealed, open_sealed, seal
from seedbed.storage.object_limits import RESULT
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import InfrastructureError

RESULT_FILE = "outcome.json"
RESULT_KIND = "outcome"
"""Kind of the owner record of a training's result."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainingResult:
    """The end of a training: steps, selected weights, model files."""

    step: int
    """Completed steps."""
    total_steps: int
    """Planned steps; more than `step` where the training stopped early."""
    selected_step: int
    """The completed steps whose weights are the model."""
    weights_digest: str
    files: dict[str, str]
    """Model files: path in the run folder to hex sha256."""
    ledger_chain: str
    trajectory_id: str

    def to_bytes(self) -> bytes:
        """Return the result as stored."""
        return seal(asdict(self))

    @staticmethod
    def from_document(document: dict[str, Any]) -> TrainingResult:
        """Return the result of a stored document."""
        return TrainingResult(**document)


def save_training_result(folder: RunFolder, result: TrainingResult) -> None:
    """Store the result; another result under the same identity is a conflict."""
    folder.vouch(RESULT_KIND, digest_of(result.to_bytes()))
    folder.publish(RESULT_FILE, result.to_bytes(), valid=is_sealed)


def read_training_result(folder: RunFolder) -> TrainingResult | None:
    """Return the stored result, None where the training has not ended."""
    try:
        return TrainingResult.from_document(open_sealed(folder.objects.read(RESULT_FILE, RESULT)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{RESULT_FILE}: {error}") from error
