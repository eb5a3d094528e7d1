"""The file format of datasets: manifest.json, shards (Arrow IPC files) and one index per shard.

A change of any name or schema here is a new `SCHEMA_VERSION`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import rfc8785
from pydantic import TypeAdapter, ValidationError

from seedbed_api.errors import UserError, refusal
from seedbed_api.strict_json import parse_json

SCHEMA_VERSION = 1
SPLITS = ("train", "validation", "test")
MANIFEST = "manifest.json"
REPORT = "report.json"
VERSIONS = "versions"

SHARD_SCHEMA = pa.schema([("image", pa.large_binary()), ("label", pa.int32()), ("id", pa.binary(32))])
TASK_SHARD_SCHEMA = pa.schema([("image", pa.large_binary()), ("target", pa.binary()), ("id", pa.binary(32))])
"""Of datasets of another task than single-label; `targets` has the encoding."""
INDEX_SCHEMA = pa.schema(
    [
        ("batch", pa.int32()),
        ("offset", pa.int64()),
        ("length", pa.int64()),
        ("label", pa.int32()),
        ("id", pa.binary(32)),
        ("key", pa.binary(32)),
        ("digest", pa.binary(32)),
    ]
)
TASK_INDEX_SCHEMA = INDEX_SCHEMA.set(INDEX_SCHEMA.get_field_index("label"), pa.field("target", pa.binary()))


def shard_schema(task: str | None) -> pa.Schema:
    """Return the columns of the shards of a task; None is single-label."""
    return SHARD_SCHEMA if task is None else TASK_SHARD_SCHEMA


def index_schema(task: str | None) -> pa.Schema:
    """Return the columns of the indices of a task."""
    return INDEX_SCHEMA if task is None else TASK_INDEX_SCHEMA


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordBatch:
    """One record batch: a byte range of the shard file, verified as a whole."""

    offset: int
    length: int
    rows: int
    sha256: str
    """Over bytes [offset, offset + length) of the shard file."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shard:
    """One Arrow IPC file with rows of a single split, and its index."""

    path: str
    split: str
    first_row: int
    rows: int
    bytes: int
    sha256: str
    batches: tuple[RecordBatch, ...]
    index_path: str
    index_sha256: str
    rows_sha256: str | None = None
    """Over the digests of its rows, in row order; the dataset digest is computed from it. Datasets of before
    this field have None: it is computed from their indices at each opening."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildRecipe:
    """The options by which sources became rows; an extension must use the same."""

    split: dict[str, str]
    """Fraction per split as a decimal string; used where the source does not say the split itself."""
    image_size: int | None
    """Shorter side in pixels after ingest, or None for the source's own size."""
    encoding: str
    """`source` (bytes kept where they are plain 8-bit JPEG or PNG, else PNG), `png` or `jpeg`."""
    group_by: str | None
    """CSV column or regular expression of the path whose rows stay together, or None."""
    pillow: str
    """Version of the library that decoded and encoded."""
    conversions: dict[str, str] | None = None
    """Losses that were asked for: `alpha`, `depth`, `cmyk`, `frames`; None, and left out, where none was."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a reader needs to find and verify any row."""

    schema_version: int
    version: int
    """1 for the first build, one more for each extension."""
    parent: str | None
    """Digest of the version that this one extends."""
    classes: tuple[str, ...]
    """Class names; the label of a row is a position here. Of a regression, the names of its numbers."""
    counts: dict[str, tuple[int, ...]]
    """Rows per split and class; a row of several labels counts for each."""
    recipe: BuildRecipe
    contents: str
    """Sum of the hashes of (id, key, label, split): compares sources before a shard is written."""
    shards: tuple[Shard, ...]
    digest: str
    """`sha256:…` over the rows and the boundaries of shards; see `dataset_digest`."""
    task: str | None = None
    """What the rows are labelled with, one of `targets.TASKS`; None is single-label, as in all datasets of
    before this field."""

    @property
    def total(self) -> int:
        """Return the number of rows of all splits."""
        return sum(shard.rows for shard in self.shards)

    def rows(self, split: str) -> int:
        """Return the number of rows of a split."""
        return sum(shard.rows for shard in self.shards if shard.split == split)


_ADAPTER = TypeAdapter(Manifest)


def _seal(document: dict[str, Any]) -> tuple[bytes, str]:
    """Return the canonical JSON of a document and its sha256."""
    data = rfc8785.dumps(document)
    return data, hashlib.sha256(data).hexdigest()


def dump_manifest(manifest: Manifest) -> bytes:
    """Return the canonical JSON of a manifest, sealed with the sha256 of its other fields."""
    document = json.loads(json.dumps(asdict(manifest)))
    if document["recipe"]["conversions"] is None:
        del document["recipe"]["conversions"]
    if document["task"] is None:
        del document["task"]
    for shard in document["shards"]:
        if shard["rows_sha256"] is None:
            del shard["rows_sha256"]  # as in the files of before this field
    return rfc8785.dumps(document | {"sha256": _seal(document)[1]}) + b"\n"


def load_manifest(data: bytes, *, where: str) -> Manifest:
    """Parse a manifest and check its seal; `UserError("InvalidDataset")` names what is wrong with it.

    The seal finds damage, not forgery: `manifest_check` compares the content with the dataset digest.
    """
    try:
        document = parse_json(data)
        seal = document.pop("sha256")
        require_version(document.get("schema_version"), where=where)
        canonical, found = _seal(document)
        manifest = _ADAPTER.validate_json(canonical, strict=True)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError, ValidationError) as error:
        raise invalid_dataset(
            where, "manifest.json is not a dataset manifest", detail=type(error).__name__
        ) from error
    if seal != found:
        raise invalid_dataset(where, "manifest.json was changed after it was written (its sha256 differs)")
    return manifest


def require_version(version: object, *, where: str) -> None:
    """Refuse a manifest of another schema version."""
    if version != SCHEMA_VERSION or isinstance(version, bool):
        fix = f"this Seedbed reads version {SCHEMA_VERSION}; rebuild it with `seedbed dataset build`"
        raise UserError(
            "InvalidDataset",
            refusal("schema_version", version, f"dataset {where} is of another version", fix),
        )


def invalid_dataset(where: str, problem: str, *, detail: str = "") -> UserError:
    """Return the error of a dataset that cannot be read."""
    text = f"{problem} ({detail})" if detail else problem
    fix = "check the URL with `seedbed dataset check`, or rebuild it with `seedbed dataset build`"
    return UserError("InvalidDataset", refusal("dataset.uri", where, text, fix))
