"""What a finished run says of itself: `result.json`, written last, a function of the run identity."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from seedbed.arithmetic.evaluation import metrics
from seedbed.runs.documents import is_sealed, opened, sealed
from seedbed.runs.evaluations import Evaluation, read_evaluations
from seedbed.runs.folder import RESULT, RunFolder
from seedbed.training.evaluating import counts_of
from seedbed.training.outcomes import Outcome
from seedbed_api.errors import InfrastructureError


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """The end of a run, and where its proof lies."""

    run_id: str
    environment_class: str
    dataset_digest: str
    samples: int
    """Train rows of an epoch."""
    outcome: Outcome
    receipt_digest: str
    """Digest of the deterministic part of the receipt."""

    def to_bytes(self) -> bytes:
        """Return the result as stored."""
        return sealed(asdict(self))


def save_result(folder: RunFolder, result: Result) -> None:
    """Store the result, after everything that it names; from now on the run is complete."""
    folder.publish(RESULT, result.to_bytes(), valid=is_sealed)


def read_result(folder: RunFolder) -> Result | None:
    """Return the stored result, None while the run is not complete."""
    try:
        data = folder.objects.read(RESULT)
    except FileNotFoundError:
        return None
    try:
        document = opened(data)
        return Result(**{**document, "outcome": Outcome.from_document(document["outcome"])})
    except (ValueError, TypeError, KeyError) as error:
        raise InfrastructureError("RunFolderDamaged", f"{folder.url}/{RESULT}: {error}") from error


def final_metrics(folder: RunFolder, outcome: Outcome) -> dict[str, float]:
    """Return loss and accuracy of the selected weights on validation and test rows, by registry name."""
    newest: dict[str, Evaluation] = {}
    for record in read_evaluations(folder, up_to=outcome.step):
        wanted = outcome.selected_step if record.split == "validation" else outcome.step
        if record.step == wanted:
            newest[record.split] = record
    return _named(newest)


def _named(records: dict[str, Evaluation]) -> dict[str, float]:
    named: dict[str, Any] = {}
    for split, record in sorted(records.items()):
        figures = metrics(counts_of(record.document))
        named |= {f"{split}/loss": figures.loss, f"{split}/accuracy": figures.accuracy}
    return named
