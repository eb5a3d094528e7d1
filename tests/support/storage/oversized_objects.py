"""An object of each kind that is read whole, one byte larger than it may be, and how its reader tells that."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from seedbed.dataset.csv_listing import list_csv
from seedbed.dataset.manifest_reader import read_manifest
from seedbed.dataset.source_file_lookup import read_source_file
from seedbed.images.image_conversion import BadImage
from seedbed.receipts import read_receipt
from seedbed.replay.receipt_location import read_object
from seedbed.report.metric_series import losses_of
from seedbed.runs.attempt_claims import read_claim
from seedbed.runs.attempt_event_log import read_events
from seedbed.runs.checkpoint_store import DamagedCheckpoint, read_record
from seedbed.runs.evaluation_records import read_evaluations
from seedbed.runs.log_store import list_logs
from seedbed.runs.model_files import read_model
from seedbed.runs.result_file import read_result
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.runs.run_lease import read_heartbeat
from seedbed.runs.sweep_record import read_sweep_record
from seedbed.runs.training_result import read_training_result
from seedbed.storage import ObjectLimit, Storage, object_limits
from seedbed_api.errors import SeedbedError

DIGITS = "ab" * 32
_RUN, _SWEEP = f"runs/{DIGITS}", f"sweeps/{DIGITS}"
_LOG = f"logs/{DIGITS}/1/digits-1-driver/000000.log"
REFUSALS = (SeedbedError, DamagedCheckpoint, BadImage)


@dataclass(frozen=True, kw_only=True, slots=True)
class Oversized:
    """Where an object of a kind lies in a store, what it may have, and who reads it."""

    path: str
    limit: ObjectLimit
    read: Callable[[Storage], object]


def _of_run(path: str, limit: ObjectLimit, read: Callable[[RunFolder], object]) -> Oversized:
    return Oversized(
        path=f"{_RUN}/{path}", limit=limit, read=lambda store: read(open_run(store, f"sha256:{DIGITS}"))
    )


def _read_log(store: Storage) -> object:
    (log,) = list_logs(store)
    return list(log.read_new(store, last=True))


KINDS = {
    "receipt": _of_run("receipt.json", object_limits.RECEIPT, lambda run: read_receipt(run.objects)),
    "result": _of_run("result.json", object_limits.RESULT, read_result),
    "end of the training": _of_run("outcome.json", object_limits.RESULT, read_training_result),
    "recipe": _of_run("recipe.json", object_limits.DOCUMENT, lambda run: run.read_json("recipe.json")),
    "recipe that is verified": _of_run(
        "recipe.json", object_limits.DOCUMENT, lambda run: read_object(run, "recipe.json")
    ),
    "record of a checkpoint": _of_run(
        "checkpoints/3.json", object_limits.CHECKPOINT_RECORD, lambda run: read_record(run, 3)
    ),
    "model": _of_run("model/model.safetensors", object_limits.TENSORS, read_model),
    "segment of the ledger": _of_run(
        "ledger/0-3-ab", object_limits.LEDGER_SEGMENT, lambda run: losses_of(run, ["ledger/0-3-ab"])
    ),
    "evaluation": _of_run("evaluations/validation-3.json", object_limits.EVALUATION, read_evaluations),
    "claim": _of_run("attempts/1.json", object_limits.ATTEMPT_CLAIM, lambda run: read_claim(run, 1)),
    "events": _of_run("events/1-000000.jsonl", object_limits.EVENTS, lambda run: list(read_events(run))),
    "heartbeat": Oversized(
        path=f"leases/{DIGITS}/1",
        limit=object_limits.HEARTBEAT,
        read=lambda store: read_heartbeat(open_run(store, f"sha256:{DIGITS}"), 1),
    ),
    "record of a sweep": Oversized(
        path=f"{_SWEEP}/ledger.json",
        limit=object_limits.SWEEP_RECORD,
        read=lambda store: read_sweep_record(store, DIGITS),
    ),
    "piece of a log": Oversized(path=_LOG, limit=object_limits.LOG_PIECE, read=_read_log),
    "manifest of a dataset": Oversized(
        path="manifest.json", limit=object_limits.DATASET_MANIFEST, read=read_manifest
    ),
    "image": Oversized(
        path="cats/a.jpg",
        limit=object_limits.SOURCE_IMAGE,
        read=lambda store: read_source_file(store, "cats/a.jpg"),
    ),
    "CSV listing": Oversized(
        path="rows.csv",
        limit=object_limits.CSV_FILE,
        read=lambda store: list_csv(store, csv="rows.csv", group_by=None),
    ),
}


def check_is_refused(kind: str, store: Storage) -> None:
    """Read the planted object; its reader names it, its size where the store tells it, and the limit."""
    planted = KINDS[kind]
    with pytest.raises(REFUSALS) as refused:
        planted.read(store)
    error = refused.value
    said = str(getattr(error, "message", "") or error)
    assert f"has {planted.limit.most_bytes + 1} bytes" in said.replace(",", "")
    assert str(planted.limit.most_bytes) in said.replace(",", "")
    assert planted.path.rpartition("/")[2] in said or isinstance(error, BadImage), "its report names the file"
