"""What someone may do who can write to a dataset's store: change files, and renew each hash that no digest covers.

Each change leaves the dataset digest that the manifest states. `CHANGES` maps a name to a change and to words
of the refusal.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import rfc8785

from seedbed.dataset.file_format import INDEX_SCHEMA
from seedbed.dataset.shard_io import encode_index

Document = dict[str, Any]
Rows = list[dict[str, Any]]
Change = Callable[[Path], object]


def load(folder: Path, path: str = "manifest.json") -> Document:
    """Return a manifest without its seal."""
    document: Document = json.loads((folder / path).read_bytes())
    del document["sha256"]
    return document


def sealed(document: Document) -> bytes:
    """Return the bytes of a manifest with a seal that holds."""
    seal = hashlib.sha256(rfc8785.dumps(document)).hexdigest()
    return rfc8785.dumps(document | {"sha256": seal}) + b"\n"


def store(folder: Path, document: Document) -> None:
    """Write a manifest, and the copy of its version."""
    for path in ("manifest.json", version_of(document)):
        (folder / path).write_bytes(sealed(document))


def version_of(document: Document) -> str:
    """Return the path of the manifest of the version that a manifest states."""
    return f"versions/{document['digest'].removeprefix('sha256:')}.json"


def without_row_digests(folder: Path) -> Path:
    """Make the manifests of a dataset those of before they named the row digests of shards."""
    for file in [folder / "manifest.json", *(folder / "versions").iterdir()]:
        document = load(folder, str(file.relative_to(folder)))
        for shard in document["shards"]:
            shard.pop("rows_sha256", None)
        file.write_bytes(sealed(document))
    return folder


def train_shards(document: Document) -> list[Document]:
    """Return the shards of train."""
    return [shard for shard in document["shards"] if shard["split"] == "train"]


def index_rows(folder: Path, shard: Document) -> Rows:
    """Return the rows of a shard's index."""
    rows: Rows = pa.ipc.open_file(folder / shard["index_path"]).read_all().to_pylist()
    return rows


def put_index(folder: Path, shard: Document, rows: Rows) -> None:
    """Write the index of a shard anew, with its sha256."""
    data = encode_index(pa.Table.from_pylist(rows, INDEX_SCHEMA))
    (folder / shard["index_path"]).write_bytes(data)
    shard["index_sha256"] = hashlib.sha256(data).hexdigest()


def renew_row_digests(folder: Path, shard: Document, rows: Rows) -> None:
    """Compute the digests of rows anew from what the index and the shard hold."""
    data = (folder / shard["path"]).read_bytes()
    for row in rows:
        start = shard["batches"][row["batch"]]["offset"] + row["offset"]
        head = row["id"] + row["key"] + row["label"].to_bytes(4, "little")
        row["digest"] = hashlib.sha256(head + data[start : start + row["length"]]).digest()


def on_index(change: Callable[[Rows], object], *, digests: bool = False, shards: bool = False) -> Change:
    """Return a change of the first train index; with `digests` and `shards`, the hashes above agree."""

    def apply(folder: Path) -> None:
        document = load(folder)
        shard = train_shards(document)[0]
        rows = index_rows(folder, shard)
        change(rows)
        if digests:
            renew_row_digests(folder, shard, rows)
        put_index(folder, shard, rows)
        if shards:
            shard["rows_sha256"] = hashlib.sha256(b"".join(row["digest"] for row in rows)).hexdigest()
        store(folder, document)

    return apply


def on_manifest(change: Callable[[Document], object]) -> Change:
    """Return a change of the manifest alone; first rows and counts per split agree."""

    def apply(folder: Path) -> None:
        document = load(folder)
        change(document)
        first = 0
        for shard in document["shards"]:
            shard["first_row"], first = first, first + shard["rows"]
        store(folder, document)

    return apply


def swap(rows: list[Any], one: int, other: int, *fields: str) -> None:
    """Exchange fields of two entries of a list."""
    for field in fields:
        rows[one][field], rows[other][field] = rows[other][field], rows[one][field]


def swap_labels(rows: Rows) -> None:
    """Give two rows of different classes each other's label."""
    swap(rows, 0, next(at for at, row in enumerate(rows) if row["label"] != rows[0]["label"]), "label")


def another_image(folder: Path) -> None:
    """Change a byte of the first train image, and renew the hashes of batch and shard."""
    document = load(folder)
    shard = train_shards(document)[0]
    row, file = index_rows(folder, shard)[0], folder / shard["path"]
    batch, data = shard["batches"][0], bytearray(file.read_bytes())
    data[batch["offset"] + row["offset"] + row["length"] - 9] ^= 1
    file.write_bytes(data)
    part = data[batch["offset"] : batch["offset"] + batch["length"]]
    batch["sha256"], shard["sha256"] = hashlib.sha256(part).hexdigest(), hashlib.sha256(data).hexdigest()
    store(folder, document)


def swap_index_files(folder: Path) -> None:
    """Exchange the indices of two shards of equal shape: rows point into images of others."""
    document = load(folder)
    shards = train_shards(document)
    one, other = next(
        (at, at + 1) for at, pair in enumerate(pairwise(shards)) if pair[0]["rows"] == pair[1]["rows"]
    )
    swap(shards, one, other, "index_path", "index_sha256")
    store(folder, document)


def swap_order(document: Document) -> None:
    """Exchange two shards of train."""
    shards = document["shards"]
    shards[0], shards[1] = shards[1], shards[0]


def to_validation(document: Document) -> None:
    """Move a shard of train to validation; counts per class are moved by their sums alone."""
    shard = train_shards(document)[0]
    shard["split"] = "validation"
    document["counts"]["train"][0] -= shard["rows"]
    document["counts"]["validation"][0] += shard["rows"]


def move_cut(document: Document) -> None:
    """Move a row from a shard to the one before."""
    one, other = train_shards(document)[:2]
    for shard, step in ((one, 1), (other, -1)):
        shard["rows"] += step
        shard["batches"][-1]["rows"] += step


def drop_shard(document: Document) -> None:
    """Leave out the first shard of train."""
    shard = train_shards(document)[0]
    document["shards"].remove(shard)
    document["counts"]["train"][0] -= shard["rows"]


def repeat_shard(document: Document) -> None:
    """Count the first shard of train twice."""
    shard = train_shards(document)[0]
    document["shards"].insert(1, dict(shard))
    document["counts"]["train"][0] += shard["rows"]


def move_count(document: Document) -> None:
    """Count a row of one class for another."""
    counts = document["counts"]["train"]
    counts[0], counts[1] = counts[0] - 1, counts[1] + 1


def set_row(at: int, **values: Any) -> Callable[[Rows], None]:
    """Return a change of one row of an index."""
    return lambda rows: rows[at].update(values)


CHANGES: dict[str, tuple[Change, tuple[str, ...]]] = {
    "labels of two rows": (on_index(swap_labels), ("row ", "differs", "train-")),
    "labels, row digests renewed": (on_index(swap_labels, digests=True), ("index ", "row digests", "train-")),
    "labels, all digests renewed": (on_index(swap_labels, digests=True, shards=True), ("states digest",)),
    "a label of no class": (on_index(set_row(0, label=99)), ("row 0 has label 99", "train-")),
    "a negative label": (on_index(set_row(0, label=-1)), ("row 0 has label -1", "train-")),
    "an id": (on_index(set_row(1, id=b"i" * 32)), ("row 1 ", "train-")),
    "a key": (on_index(set_row(1, key=b"k" * 32)), ("row 1 ", "train-")),
    "a row digest": (on_index(set_row(1, digest=b"d" * 32)), ("index ", "row digests", "train-")),
    "the images of two rows": (
        on_index(lambda rows: swap(rows, 0, 1, "offset", "length")),
        ("row ", "differs", "train-"),
    ),
    "an image outside of its batch": (on_index(set_row(0, length=10**9)), ("row 0 lies outside", "train-")),
    "an image before its batch": (on_index(set_row(0, offset=-5)), ("row 0 lies outside", "train-")),
    "a row in another batch": (on_index(set_row(0, batch=7)), ("other batches", "train-")),
    "a row dropped": (on_index(lambda rows: rows.pop()), ("rows instead of", "train-")),
    "the order of rows": (on_index(lambda rows: swap(rows, 0, 1, *rows[0])), ("row digests", "train-")),
    "an image": (another_image, ("row 0 ", "train-")),
    "the indices of two shards": (swap_index_files, ("index ", "train-")),
    "the digests of two shards": (
        on_manifest(lambda document: swap(train_shards(document), 0, 1, "rows_sha256")),
        ("states digest", "order"),
    ),
    "the order of two shards": (on_manifest(swap_order), ("states digest", "order")),
    "the cut between two shards": (on_manifest(move_cut), ("states digest",)),
    "the split of a shard": (on_manifest(to_validation), ("states digest", "splits")),
    "the order of classes": (on_manifest(lambda document: document["classes"].reverse()), ("classes",)),
    "the name of a class": (on_manifest(lambda document: document["classes"].append("z")), ("counts",)),
    "a shard dropped": (on_manifest(drop_shard), ("states digest",)),
    "a shard repeated": (on_manifest(repeat_shard), ("states digest",)),
    "a row counted for another class": (on_manifest(move_count), ("counts of split train",)),
    "the row digests of a shard": (
        on_manifest(lambda document: document["shards"][0].update(rows_sha256="0" * 64)),
        ("states digest",),
    ),
}
