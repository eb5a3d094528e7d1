"""How large each kind of object may be that is read whole.

Whoever writes to a store decides how large an object is: without a bound one of them takes all memory of the
process that reads it. The bounds are far above what Seedbed writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_KIB, _MIB, _GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectLimit:
    """A kind of object, and the bytes that one may have."""

    kind: str
    """With its article, as errors name it."""
    most_bytes: int


def _limit(kind: str, most_bytes: int) -> ObjectLimit:
    return ObjectLimit(kind=kind, most_bytes=most_bytes)


DOCUMENT: Final = _limit("a JSON document", 64 * _MIB)
"""What no other kind describes: the bound of `parse_json`."""
RECEIPT: Final = _limit("a receipt", 64 * _MIB)
RESULT: Final = _limit("a result", 64 * _MIB)
FAILURE: Final = _limit("the failure of a run", 64 * _MIB)
CHECKPOINT_RECORD: Final = _limit("the record of a checkpoint", 64 * _MIB)
SWEEP_RECORD: Final = _limit("the record of a sweep", 64 * _MIB)
EVALUATION: Final = _limit("an evaluation", 64 * _MIB)
ATTEMPT_CLAIM: Final = _limit("the claim of an attempt", 64 * _KIB)
HEARTBEAT: Final = _limit("a heartbeat", 64 * _KIB)
OWNER_RECORD: Final = _limit("an owner record", 64 * _KIB)
LEDGER_SEGMENT: Final = _limit("a segment of the ledger", _GIB)
EVENTS: Final = _limit("a piece of the events", _GIB)
METRICS_PIECE: Final = _limit("a piece of the metrics", _GIB)
LOG_PIECE: Final = _limit("a piece of a log", 16 * _MIB)
TENSORS: Final = _limit("a file of tensors", 32 * _GIB)
"""A network of two billion parameters and its momentum."""
WEIGHTS: Final = _limit("a file of weights to start from", 16 * _GIB)
"""A network of four billion parameters."""
DATASET_MANIFEST: Final = _limit("the manifest of a dataset", 256 * _MIB)
"""That of about 2 million record batches."""
SOURCE_IMAGE: Final = _limit("an image", _GIB)
"""80,000,000 pixels of 12 bytes."""
CSV_FILE: Final = _limit("a CSV listing", 2 * _GIB)
CODE_FILE: Final = _limit("a file of code", 16 * _MIB)
WHEEL: Final = _limit("a wheel of code", 32 * _MIB)
"""16 MiB of files, and the headers of 10,000."""
