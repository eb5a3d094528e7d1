"""`seedbed dataset add`: extend a dataset with the files of a source."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seedbed.cli.dataset_options import open_destination, output_option, progress_bar
from seedbed.cli.dataset_printing import print_refused, print_result
from seedbed.cli.dataset_source import open_source, source_options
from seedbed.cli.standard_streams import echo
from seedbed.dataset.build_report import BadSourcesError
from seedbed.dataset.builder import BuildOptions
from seedbed.dataset.extension import Extension, extend_dataset
from seedbed_api.printable_text import on_one_line


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--new-classes",
    type=click.Choice(["add", "refuse"]),
    default="add",
    show_default=True,
    help="Give classes that DEST lacks the next labels, or refuse them.",
)
@source_options
@output_option
def add(
    source: str, dest: str, source_secret: Path | None, dest_secret: Path | None, output: str, **options: Any
) -> None:
    """Add the images of SOURCE to the dataset DEST, as a new version (paths or URLs).

    Split, size, format and groups are those that DEST was built with. Rows that are there stay as they are:
    number, label, split and shard. Files whose bytes DEST has are left out.
    """
    storage, wanted = open_source(source, source_secret, options)
    opened = storage, open_destination(dest, dest_secret)
    try:
        with progress_bar() as progress:
            extension = extend_dataset(*opened, options=BuildOptions(**wanted), progress=progress)
    except BadSourcesError as error:
        print_refused(error.report, output)
        raise
    if output == "json":
        echo(json.dumps(_document(extension), indent=1))
        return
    print_result(extension.result, dest)
    _print_addition(extension)


def _document(extension: Extension) -> dict[str, Any]:
    result = extension.result
    return {
        "outcome": result.outcome,
        "digest": result.manifest.digest,
        "version": result.manifest.version,
        "parent": result.manifest.parent,
        "addition": None if extension.addition is None else asdict(extension.addition),
        "report": result.report.document(),
    }


def _print_addition(extension: Extension) -> None:
    addition = extension.addition
    if addition is None:
        return
    rows = ", ".join(f"{count} to {split}" for split, count in addition.added.items() if count)
    echo(f"added {rows}; {addition.already_there} were there already")
    if addition.added_classes:
        echo(f"new classes: {on_one_line(', '.join(addition.added_classes))}")
    echo(f"version {addition.version} of {addition.parent}")
