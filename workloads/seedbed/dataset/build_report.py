"""What a build tells about its sources: what was refused and why, what was changed, what was there twice."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from seedbed.dataset.source_listing import decode_path
from seedbed_api.errors import UserError

_LISTED = 100_000
"""Names listed per kind; counts are exact beyond it."""


@dataclass(kw_only=True, slots=True)
class Findings:
    """Files of one kind: how many, and the first of them by name."""

    counts: Counter[str] = field(default_factory=Counter)
    files: list[dict[str, str]] = field(default_factory=list)

    def add(self, kind: str, path: bytes, **more: str) -> None:
        """Count a file and list it while there is room."""
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
        """List what was changed or odd about accepted files."""
        noted = accepted.filter(pa.compute.not_equal(accepted["notes"], ""))
        for path, notes in zip(noted["path"].to_pylist(), noted["notes"].to_pylist(), strict=True):
            for note in notes.split(","):
                self.notes.add(note, path)


class BadSourcesError(UserError):
    """Sources were refused and `--on-error fail` asked to stop; carries the report."""

    def __init__(self, report: BuildReport) -> None:
        self.report = report
        first = sorted(report.refused.files, key=lambda file: file["path"])[:3]
        names = ", ".join(f"{file['path']} ({file['kind']})" for file in first)
        total = report.refused.counts.total()
        rest = f" and {total - len(first)} more" if total > len(first) else ""
        fix = "mend or remove them, or leave them out with --on-error skip"
        super().__init__("BadImages", f"SOURCE: {total} of its files are refused: {names}{rest}; {fix}")

    def __reduce__(self) -> tuple[object, ...]:
        return (BadSourcesError, (self.report,))


def printable_path(path: bytes) -> str:
    """Return a path as text that any terminal and any JSON reader takes."""
    text = decode_path(path).encode("utf-8", "backslashreplace").decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
