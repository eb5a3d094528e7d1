"""`seedbed dataset`: build, show, check and export datasets."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from seedbed.cli.dataset_add import add
from seedbed.cli.dataset_diff import diff
from seedbed.cli.dataset_group import group
from seedbed.cli.dataset_options import (
    folder,
    open_dataset_version,
    open_destination,
    output_option,
    progress_bar,
    secret_option,
)
from seedbed.cli.dataset_printing import print_classes, print_refused, print_result
from seedbed.cli.dataset_sample import sample
from seedbed.cli.dataset_source import open_source, source_options
from seedbed.cli.dataset_stats import stats
from seedbed.cli.dataset_versions import tag, versions
from seedbed.cli.standard_streams import echo
from seedbed.dataset import Dataset, Manifest
from seedbed.dataset.build_report import BadSourcesError
from seedbed.dataset.builder import BuildOptions, build_dataset
from seedbed.dataset.export import export_dataset
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.integrity_check import check_dataset
from seedbed.dataset.renewal import renew_dataset
from seedbed.dataset.targets import TASKS
from seedbed.storage import open_storage, printable_url
from seedbed_api.errors import UserError
from seedbed_api.printable_text import on_one_line

_LINES_SHOWN = 50


@click.group(name="dataset")
def command() -> None:
    """Build, extend, compare, show, check and export datasets."""


for _subcommand in (add, diff, group, sample, stats, versions, tag):
    command.add_command(_subcommand)


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
@click.option("--alpha", help="Put transparent pixels on a background: white, black or #rrggbb.")
@click.option("--depth", type=click.Choice(["8"]), help="Keep the high 8 of 16 bits per channel.")
@click.option("--cmyk", type=click.Choice(["convert"]), help="Convert CMYK to RGB without a colour profile.")
@click.option(
    "--frames", type=click.Choice(["first"]), help="Take the first of several frames or pages; GIF too."
)
@click.option(
    "--group-by", help="CSV column, or regular expression of the path, whose images stay in one split."
)
@click.option(
    "--task",
    type=click.Choice(TASKS),
    default=BuildOptions().task,
    show_default=True,
    help="What images are labelled with: one class, several labels, or numbers.",
)
@click.option("--append", is_flag=True, help="Extend the dataset at DEST; existing rows do not move.")
@source_options
@output_option
def build(
    source: str, dest: str, source_secret: Path | None, dest_secret: Path | None, output: str, **options: Any
) -> None:
    """Build the dataset DEST from the images of SOURCE (paths or URLs).

    SOURCE is a folder of images, of Parquet, Arrow, tar, MDS or NumPy files, one of these files, or a
    pattern: 'part-*.parquet'.
    """
    storage, wanted = open_source(source, source_secret, options)
    opened = storage, open_destination(dest, dest_secret)
    try:
        with progress_bar() as progress:
            result = build_dataset(*opened, options=BuildOptions(**wanted), progress=progress)
    except BadSourcesError as error:
        print_refused(error.report, output)
        raise
    if output == "json":
        document = {
            "outcome": result.outcome,
            "digest": result.manifest.digest,
            "report": result.report.document(),
        }
        echo(json.dumps(document, indent=1))
    else:
        print_result(result, dest)


@command.command()
@click.argument("url")
@secret_option
@output_option
def show(url: str, secret: Path | None, output: str) -> None:
    """Show classes, rows per split, shards and the digest of a dataset."""
    manifest = open_dataset_version(url, secret).manifest
    if output == "json":
        echo(json.dumps(_summary(manifest), indent=1))
    else:
        _print_table(manifest)


@command.command()
@click.argument("url")
@secret_option
@output_option
def check(url: str, secret: Path | None, output: str) -> None:
    """Read a dataset completely and name every shard, batch and row that differs from its manifest."""
    dataset = open_dataset_version(url, secret)
    with progress_bar() as progress:
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
@secret_option
@click.option("--dest-secret", type=folder, help="Folder of credential files for DEST.")
def export(url: str, dest: str, layout: str, secret: Path | None, dest_secret: Path | None) -> None:
    """Write the rows of a dataset as Parquet or WebDataset files below DEST."""
    dataset = open_dataset_version(url, secret)
    with progress_bar() as progress:
        files = export_dataset(
            dataset, open_storage(dest, secret=dest_secret), layout=layout, progress=progress
        )
    place = on_one_line(printable_url(dest))
    echo(f"exported {dataset.manifest.total} rows into {files} files below {place}")


@command.command()
@click.argument("url")
@secret_option
def renew(url: str, secret: Path | None) -> None:
    """Add to a dataset of an older version what its manifests lack today; no digest changes."""
    renewed = renew_dataset(open_storage(url, secret=secret))
    place = on_one_line(printable_url(url))
    echo(f"renewed: {place}: {', '.join(renewed)}" if renewed else f"already current: {place}")


def _require_whole(dataset: Dataset, problems: list[str], *, listed: bool) -> None:
    for problem in problems[1:_LINES_SHOWN] if listed else ():
        echo(on_one_line(problem), err=True)
    rest = f" and {len(problems) - 1} more" if len(problems) > 1 else ""
    fix = "restore the objects from a copy, or build the dataset again"
    raise UserError("InvalidDataset", f"{dataset.storage.url}: {problems[0]}{rest}; {fix}")


def _print_table(manifest: Manifest) -> None:
    print_classes(manifest)
    size = sum(shard.bytes for shard in manifest.shards)
    version = f"version {manifest.version}" + (f" of {manifest.parent}" if manifest.parent else "")
    echo(manifest.digest)
    task = f", {manifest.task}" if manifest.task else ""
    echo(f"{manifest.total} images{task}, {len(manifest.shards)} shards, {decimal(size)}, {version}")


def _summary(manifest: Manifest) -> dict[str, Any]:
    """Return the JSON form of `show`: the manifest without its lists of batches."""
    document = asdict(manifest)
    for shard in document["shards"]:
        shard["batches"] = len(shard["batches"])
    return document | {"rows": {split: manifest.rows(split) for split in SPLITS}}
