"""The report of a dataset build: refused files and why, changed files, duplicates."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from seedbed.dataset.source_listing import decode_path
from seedbed_api.errors import UserError
from seedbed_api.printable_text import on_one_line

_LISTED = 100_000
"""Names listed per kind; counts are exact beyond it."""


@dataclass(kw_only=True, slots=True)
class Findings:
    """Files by kind: their counts, and the names of the first ones."""

    counts: Counter[str] = field(default_factory=Counter)
    files: list[dict[str, str]] = field(default_factory=list)

    def add(self, kind: str, path: bytes, **more: str) -> None:
        """Count a file, and list it up to the limit."""
        self.counts[kind] += 1
        if len(self.files) < _LISTED:
            self.files.append({"path": printable_path(path), "kind": kind, **more})

    def document(self) -> dict[str, Any]:
        """Return the JSON form, in order of the paths."""
        files = sorted(self.files, key=lambda file: (file["path"], file["kind"]))
        return {"count": self.counts.total(), "kinds": dict(sorted(self.counts.items())), "files": files}


@dataclass(kw_only=True, slots=True)
class BuildReport:
    """The findings of a build."""

    images: int = 0
    ignored: int = 0
    already_there: int = 0
    refused: Findings = field(default_factory=Findings)
    duplicates: Findings = field(default_factory=Findings)
    notes: Findings = field(default_factory=Findings)

    def document(self) -> dict[str, Any]:
        """Return the JSON form of report.json."""
        return {
            "images": self.images,
            "ignored": self.ignored,
            "alreadyThere": self.already_there,
            "refused": self.refused.document(),
            "duplicates": self.duplicates.document(),
            "notes": self.notes.document(),
        }

    def dump(self) -> bytes:
        """Return the bytes of report.json."""
        return json.dumps(self.document(), indent=1, sort_keys=True).encode() + b"\n"

    def add_notes(self, accepted: pa.Table) -> None:
        """List what was changed in, or is unusual about, accepted files."""
        noted = accepted.filter(pa.compute.not_equal(accepted["notes"], ""))
        for path, notes in zip(noted["path"].to_pylist(), noted["notes"].to_pylist(), strict=True):
            for note in notes.split(","):
                self.notes.add(note, path)


class BadSourcesError(UserError):
    """Sources were refused under `--on-error fail`; carries the report."""

    def __init__(self, report: BuildReport) -> None:
        self.report = report
        first = sorted(report.refused.files, key=lambda file: file["path"])[:3]
        names = ", ".join(f"{file['path']} ({file['kind']})" for file in first)
        total = report.refused.counts.total()
        rest = f" and {total - len(first)} more" if total > len(first) else ""
        fix = "repair or remove them, or skip them with --on-error skip"
        super().__init__("BadImages", f"SOURCE: {total} of its files are refused: {names}{rest}; {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return (BadSourcesError, (self.report,))


def printable_path(path: bytes) -> str:
    """Return a path as text that any terminal and JSON reader can show."""
    return on_one_line(decode_path(path).encode("utf-8", "backslashreplace").decode())
