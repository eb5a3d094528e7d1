"""The lineage of a dataset: for each version its parent, what was added to it, and from where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final

import rfc8785
from pydantic import TypeAdapter, ValidationError

from seedbed.dataset.build_report import BuildReport
from seedbed.dataset.file_format import MANIFEST, SPLITS, Manifest, dump_manifest, invalid_dataset
from seedbed.dataset.manifest_reader import parse_manifest, read_manifest, version_path
from seedbed.dataset.shard_reader import read_bounded
from seedbed.dataset.version_reference import stored_digests
from seedbed.storage import DamagedObject, Storage
from seedbed.storage.object_limits import DOCUMENT
from seedbed_api.errors import InfrastructureError, refusal
from seedbed_api.strict_json import parse_json

LINEAGE: Final = "lineage"


@dataclass(frozen=True, kw_only=True, slots=True)
class Addition:
    """What a version has that its parent has not."""

    digest: str
    parent: str
    version: int
    source: str
    """URL of the source, without credentials."""
    added: dict[str, int]
    """Rows by split."""
    added_classes: tuple[str, ...]
    already_there: int
    """Files of the source whose bytes the parent has."""
    duplicates: int
    refused: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Version:
    """A version of a dataset, as lists of versions show it."""

    digest: str
    version: int
    parent: str | None
    rows: int
    classes: int
    addition: Addition | None
    """None for a first build, and for a version that was extended before additions were recorded."""


_ADAPTER = TypeAdapter(Addition)


def addition_of(parent: Manifest, manifest: Manifest, *, report: BuildReport, source: str) -> Addition:
    """Return what an extension added."""
    return Addition(
        digest=manifest.digest,
        parent=parent.digest,
        version=manifest.version,
        source=source,
        added={split: manifest.rows(split) - parent.rows(split) for split in SPLITS},
        added_classes=manifest.classes[len(parent.classes) :],
        already_there=report.already_there,
        duplicates=report.duplicates.counts.total(),
        refused=report.refused.counts.total(),
    )


def publish_extension(storage: Storage, manifest: Manifest, addition: Addition) -> None:
    """Record an addition, then make its version the newest one.

    `InfrastructureError("DatasetChanged")` where another extension was published since this one began: the
    rows of that one would be lost.
    """
    storage.put(_path(addition.digest), rfc8785.dumps(asdict(addition)) + b"\n")
    newest = parse_manifest(storage, MANIFEST).digest
    if newest not in (addition.parent, addition.digest):
        problem = f"the dataset became {newest} while rows were added to {addition.parent}"
        line = refusal("DEST", storage.url, problem, "run the command again: it adds to the newest version")
        raise InfrastructureError("DatasetChanged", line)
    storage.put(MANIFEST, dump_manifest(manifest))


def read_addition(storage: Storage, digest: str) -> Addition | None:
    """Return what was added in a version; None where nothing is recorded."""
    try:
        document: Any = parse_json(read_bounded(storage, _path(digest), DOCUMENT))
        return _ADAPTER.validate_python(document)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, RecursionError, ValidationError, DamagedObject) as error:
        problem = f"{_path(digest)} is no record of an addition"
        raise invalid_dataset(storage.url, problem, detail=type(error).__name__) from error


def list_versions(storage: Storage) -> list[Version]:
    """Return all versions, the newest first; `UserError` where a manifest is not that of its digest."""
    digests = set(stored_digests(storage)) | {parse_manifest(storage, MANIFEST).digest}
    return sorted(_versions(storage, digests), key=lambda version: (-version.version, version.digest))


def _versions(storage: Storage, digests: set[str]) -> Iterator[Version]:
    for digest in digests:
        manifest, _ = read_manifest(storage, digest)
        yield Version(
            digest=digest,
            version=manifest.version,
            parent=manifest.parent,
            rows=manifest.total,
            classes=len(manifest.classes),
            addition=read_addition(storage, digest),
        )


def _path(digest: str) -> str:
    version_path(digest)
    return f"{LINEAGE}/{digest.removeprefix('sha256:')}.json"
