"""How a training ended, as rank 0 leaves it in the run folder: a function of the run identity alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seedbed.runs.run_folder import RunFolder
from seedbed.runs.sealed_json import is_sealed, opened, sealed
from seedbed_api.errors import InfrastructureError

OUTCOME = "outcome.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a training."""

    step: int
    """Completed steps."""
    total_steps: int
    """Planned steps; more than `step` where the training stopped early."""
    selected_step: int
    """The milestone whose weights are the model."""
    weights_digest: str
    files: dict[str, str]
    """Model files: path in the run folder to hex sha256."""
    ledger_chain: str
    trajectory_id: str

    def to_bytes(self) -> bytes:
        """Return the outcome as stored."""
        return sealed(asdict(self))

    @staticmethod
    def from_document(document: dict[str, Any]) -> Outcome:
        """Return the outcome of a stored document."""
        return Outcome(**document)


def save_outcome(folder: RunFolder, outcome: Outcome) -> None:
    """Store the outcome; another one under the same identity is a conflict."""
    folder.publish(OUTCOME, outcome.to_bytes(), valid=is_sealed)


def read_outcome(folder: RunFolder) -> Outcome | None:
    """Return the stored outcome, None where the training has not ended."""
    try:
        return Outcome.from_document(opened(folder.objects.read(OUTCOME)))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{OUTCOME}: {error}") from error
