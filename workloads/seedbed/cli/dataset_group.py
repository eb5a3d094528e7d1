"""`seedbed dataset group`: keep near-duplicates of a source in one split."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from seedbed.cli.dataset_options import folder, output_option, parallelism_option, progress_bar
from seedbed.cli.standard_streams import echo
from seedbed.dataset.folder_layout import LAYOUTS
from seedbed.dataset.near_duplicate_groups import SourceGroups, group_source
from seedbed.dataset.near_duplicates import MOST_DISTANCE
from seedbed.storage import open_storage, printable_url
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line


@click.command()
@click.argument("source")
@click.argument("dest")
@click.option(
    "--distance",
    type=click.IntRange(0, MOST_DISTANCE),
    default=3,
    show_default=True,
    help="Bits of 128 in which near-duplicates may differ.",
)
@click.option("--csv", help="CSV file that lists SOURCE, as for build.")
@click.option("--group-by", help="Groups to keep together as well, as for build.")
@click.option("--top-folders", type=click.Choice(LAYOUTS), default="auto", show_default=True)
@parallelism_option
@click.option("--source-secret", type=folder, help="Folder of credential files for SOURCE.")
@click.option("--dest-secret", type=folder, help="Folder of credential files for DEST.")
@output_option
def group(
    source: str,
    dest: str,
    distance: int,
    csv: str | None,
    group_by: str | None,
    top_folders: str,
    parallelism: int,
    source_secret: Path | None,
    dest_secret: Path | None,
    output: str,
) -> None:
    """Write a CSV file DEST that puts near-duplicates of SOURCE into groups, for `build --csv DEST`.

    A build draws one split for all images of a group, so a copy of a training image is never in test. Splits
    that SOURCE names itself are kept.
    """
    with progress_bar() as progress:
        found = group_source(
            open_storage(source, secret=source_secret),
            distance=distance,
            listing_csv=csv,
            group_by=group_by,
            top_folders=top_folders,
            threads=min(parallelism, 32),
            progress=progress,
        )
    _write(dest, dest_secret, found.csv)
    if output == "json":
        document = {name: value for name, value in asdict(found).items() if name != "csv"}
        echo(json.dumps(document, indent=1))
    else:
        _print(found, dest)


def _write(dest: str, secret: Path | None, data: bytes) -> None:
    parent, slash, name = dest.rpartition("/")
    if not open_storage((parent or slash) or ".", secret=secret).create(name, data):
        fix = "choose another name, or remove it"
        raise UserError("OutputExists", refusal("DEST", printable_url(dest), "the file exists", fix))


def _print(found: SourceGroups, dest: str) -> None:
    partly = "; more are possible, as too many hashes are alike" if found.incomplete else ""
    place = on_one_line(printable_url(dest))
    echo(f"{place}: {found.grouped_files} of {found.files} files in {found.groups} groups{partly}")
    if found.unreadable:
        echo(f"{found.unreadable} files have no image that a build takes")
