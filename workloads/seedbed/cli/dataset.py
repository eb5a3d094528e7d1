"""`seedbed dataset`: build, show, check and export datasets."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Column, Table
from rich.text import Text

from seedbed.cli.standard_streams import echo
from seedbed.dataset import Dataset, Manifest, open_dataset
from seedbed.dataset.build_report import BadSourcesError, BuildReport
from seedbed.dataset.builder import MIB, BuildOptions, BuildResult, build_dataset
from seedbed.dataset.export import export_dataset
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.folder_layout import LAYOUTS
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.renewal import RENEWAL, renew_dataset
from seedbed.storage import open_storage, printable_url
from seedbed_api.errors import UserError
from seedbed_api.printable_text import on_one_line

_LINES_SHOWN = 50
_LEAST_WIDTH, _WIDTH_OF_FILES = 60, 120
_SECONDS_BETWEEN_LINES = 5.0
_folder = click.Path(exists=True, file_okay=False, path_type=Path)
_secret = click.option("--secret", type=_folder, help="Folder of credential files for the URL.")
_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group(name="dataset")
def command() -> None:
    """Build, show, check and export datasets."""


@command.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--split",
    default=BuildOptions().split,
    show_default=True,
    help="Fractions; folders or a CSV column take precedence.",
)
@click.option(
    "--image-size", type=click.IntRange(1, 8192), help="Resize the shorter side to this many pixels."
)
@click.option(
    "--format",
    "encoding",
    type=click.Choice(["source", "png", "jpeg"]),
    default="source",
    show_default=True,
    help="Store source bytes if possible, or encode every image.",
)
@click.option(
    "--on-error",
    type=click.Choice(["fail", "skip"]),
    default="fail",
    show_default=True,
    help="Reject the source, or skip bad files.",
)
@click.option(
    "--group-by", help="CSV column, or regular expression of the path, whose images stay in one split."
)
@click.option(
    "--csv",
    help="CSV file with columns image, label and optionally split, group; below SOURCE, or any path or URL.",
)
@click.option(
    "--top-folders",
    type=click.Choice(LAYOUTS),
    default="auto",
    show_default=True,
    help="Meaning of the top folders of SOURCE, if their names do not show it.",
)
@click.option("--append", is_flag=True, help="Extend the dataset at DEST; existing rows do not move.")
@click.option("--shard-bytes", type=click.IntRange(1), default=64 * MIB, show_default=True)
@click.option("--batch-bytes", type=click.IntRange(1), default=2 * MIB, show_default=True)
@click.option(
    "--parallelism",
    type=click.IntRange(1, 1024),
    default=lambda: os.cpu_count() or 1,
    help="Files or shards at a time; more than 1 uses Ray for large sources.  [default: CPUs]",
)
@click.option("--engine", type=click.Choice(["auto", "local", "ray"]), default="auto", show_default=True)
@click.option("--source-secret", type=_folder, help="Folder of credential files for SOURCE.")
@click.option("--dest-secret", type=_folder, help="Folder of credential files for DEST.")
@_output
def build(
    source: str, dest: str, source_secret: Path | None, dest_secret: Path | None, output: str, **options: Any
) -> None:
    """Build the dataset DEST from the images of SOURCE (paths or URLs)."""
    opened = open_storage(source, secret=source_secret), open_storage(dest, secret=dest_secret)
    try:
        with _progress() as progress:
            result = build_dataset(*opened, options=BuildOptions(**options), progress=progress)
    except BadSourcesError as error:
        _print_refused(error.report, output)
        raise
    if output == "json":
        document = {
            "outcome": result.outcome,
            "digest": result.manifest.digest,
            "report": result.report.document(),
        }
        echo(json.dumps(document, indent=1))
    else:
        _print_result(result, dest)


@command.command()
@click.argument("url")
@_secret
@_output
def show(url: str, secret: Path | None, output: str) -> None:
    """Show classes, rows per split, shards and the digest of a dataset."""
    manifest = _open(url, secret).manifest
    if output == "json":
        echo(json.dumps(_summary(manifest), indent=1))
    else:
        _print_table(manifest)


@command.command()
@click.argument("url")
@_secret
@_output
def check(url: str, secret: Path | None, output: str) -> None:
    """Read a dataset completely and name every shard, batch and row that differs from its manifest."""
    dataset = _open(url, secret)
    with _progress() as progress:
        problems = check_dataset(dataset, progress=progress)
    if output == "json":
        echo(json.dumps({"digest": dataset.digest, "whole": not problems, "problems": problems}, indent=1))
    if problems:
        _require_whole(dataset, problems, listed=output == "text")
    if output == "text":
        echo(
            f"whole: {dataset.manifest.total} rows in {len(dataset.manifest.shards)} shards, {dataset.digest}"
        )


@command.command()
@click.argument("url")
@click.argument("dest")
@click.option("--format", "layout", type=click.Choice(["parquet", "webdataset"]), required=True)
@_secret
@click.option("--dest-secret", type=_folder, help="Folder of credential files for DEST.")
def export(url: str, dest: str, layout: str, secret: Path | None, dest_secret: Path | None) -> None:
    """Write the rows of a dataset as Parquet or WebDataset files below DEST."""
    dataset = _open(url, secret)
    with _progress() as progress:
        files = export_dataset(
            dataset, open_storage(dest, secret=dest_secret), layout=layout, progress=progress
        )
    place = on_one_line(printable_url(dest))
    echo(f"exported {dataset.manifest.total} rows into {files} files below {place}")


@command.command()
@click.argument("url")
@_secret
def renew(url: str, secret: Path | None) -> None:
    """Add to a dataset of an older version what its manifests lack today; no digest changes."""
    renewed = renew_dataset(open_storage(url, secret=secret))
    place = on_one_line(printable_url(url))
    echo(f"renewed: {place}: {', '.join(renewed)}" if renewed else f"already current: {place}")


def _open(url: str, secret: Path | None) -> Dataset:
    """Open a dataset; say on stderr where it should be renewed."""
    dataset = open_dataset(open_storage(url, secret=secret))
    if not dataset.names_row_digests:
        echo(on_one_line(f"dataset {printable_url(url)} {RENEWAL}"), err=True)
    return dataset


def _require_whole(dataset: Dataset, problems: list[str], *, listed: bool) -> None:
    for problem in problems[1:_LINES_SHOWN] if listed else ():
        echo(on_one_line(problem), err=True)
    rest = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    fix = "restore the objects from a copy, or build the dataset again"
    raise UserError("InvalidDataset", f"{dataset.storage.url}: {problems[0]}{rest}; {fix}")


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Draw a bar on a terminal; print a line every few seconds elsewhere. Both go to stderr."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=console, transient=True) as bar:
        tasks: dict[str, Any] = {}

        def advance(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage)
            bar.update(tasks[stage], completed=done, total=total)

        yield advance


def _lines() -> Callable[[str, int, int], None]:
    last = time.monotonic()

    def line(stage: str, done: int, total: int) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            echo(f"{stage}: {done} of {total}", err=True)

    return line


def _print_refused(report: BuildReport, output: str) -> None:
    if output == "json":
        echo(json.dumps({"outcome": "refused", "report": report.document()}, indent=1))
        return
    files = report.refused.document()["files"]
    for file in files[:_LINES_SHOWN]:
        echo(on_one_line(f"refused: {file['path']}: {file['kind']}: {file['detail']}"), err=True)
    if len(files) > _LINES_SHOWN:
        echo(f"… and {report.refused.counts.total() - _LINES_SHOWN} more (-o json lists them)", err=True)


def _print_result(result: BuildResult, dest: str) -> None:
    manifest, report = result.manifest, result.report
    size = sum(shard.bytes for shard in manifest.shards)
    rows = f"{manifest.total} images, {len(manifest.classes)} classes, {decimal(size)}"
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


def _print_table(manifest: Manifest) -> None:
    console = Console(highlight=False)
    table = Table(Column("class", overflow="fold"), *SPLITS)
    for label, name in enumerate(manifest.classes):
        table.add_row(Text(on_one_line(name)), *(str(manifest.counts[split][label]) for split in SPLITS))
    table.add_section()
    table.add_row("all", *(str(manifest.rows(split)) for split in SPLITS))
    width = max(console.width, _LEAST_WIDTH) if console.is_terminal else _WIDTH_OF_FILES
    Console(width=width, highlight=False).print(table)
    size = sum(shard.bytes for shard in manifest.shards)
    version = f"version {manifest.version}" + (f" of {manifest.parent}" if manifest.parent else "")
    echo(manifest.digest)
    echo(f"{manifest.total} images, {len(manifest.shards)} shards, {decimal(size)}, {version}")


def _summary(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON form of `show`: the manifest without its lists of batches."""
    document = asdict(manifest)
    for shard in document["shards"]:
        shard["batches"] = len(shard["batches"])
    return document | {"rows": {split: manifest.rows(split) for split in SPLITS}}
