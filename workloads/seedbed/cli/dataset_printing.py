"""What `seedbed dataset build` and `add` print of their results."""

from __future__ import annotations

import json

from rich.console import Console
from rich.filesize import decimal
from rich.table import Column, Table
from rich.text import Text

from seedbed.cli.standard_streams import echo
from seedbed.dataset import Manifest
from seedbed.dataset.build_report import BuildReport
from seedbed.dataset.builder import BuildResult
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.targets import REGRESSION
from seedbed.storage import printable_url
from seedbed_api.printable_text import on_one_line

LINES_SHOWN = 50
_LEAST_WIDTH, _WIDTH_OF_FILES = 60, 120


def print_refused(report: BuildReport, output: str) -> None:
    """List refused files on stderr, or all of the report as JSON."""
    if output == "json":
        echo(json.dumps({"outcome": "refused", "report": report.document()}, indent=1))
        return
    files = report.refused.document()["files"]
    for file in files[:LINES_SHOWN]:
        echo(on_one_line(f"refused: {file['path']}: {file['kind']}: {file['detail']}"), err=True)
    if len(files) > LINES_SHOWN:
        echo(f"… and {report.refused.counts.total() - LINES_SHOWN} more (-o json lists them)", err=True)


def print_result(result: BuildResult, dest: str) -> None:
    """Print outcome, rows, findings and digest of a build."""
    manifest, report = result.manifest, result.report
    size = sum(shard.bytes for shard in manifest.shards)
    outputs = "numbers" if manifest.task == REGRESSION else "classes"
    rows = f"{manifest.total} images, {len(manifest.classes)} {outputs}, {decimal(size)}"
    echo(f"{result.outcome}: {on_one_line(printable_url(dest))}: {rows}")
    for split in SPLITS:
        echo(f"  {split}: {manifest.rows(split)}")
    for name, findings in (
        ("refused", report.refused),
        ("duplicates", report.duplicates),
        ("notes", report.notes),
    ):
        for kind, count in sorted(findings.counts.items()):
            echo(f"  {name}: {kind}: {count} (see report.json)")
    echo(f"digest {manifest.digest}")


def print_classes(manifest: Manifest) -> None:
    """Print the rows of each class and split as a table."""
    console = Console(highlight=False)
    head = "number" if manifest.task == REGRESSION else "class"
    table = Table(Column(head, overflow="fold"), *SPLITS)
    for label, name in enumerate(manifest.classes):
        table.add_row(Text(on_one_line(name)), *(str(manifest.counts[split][label]) for split in SPLITS))
    table.add_section()
    table.add_row("all", *(str(manifest.rows(split)) for split in SPLITS))
    width = max(console.width, _LEAST_WIDTH) if console.is_terminal else _WIDTH_OF_FILES
    Console(width=width, highlight=False).print(table)
