"""The options of commands that read a SOURCE: where its rows are, and what its columns mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from seedbed.cli.dataset_options import folder, parallelism_option
from seedbed.dataset.builder import MIB
from seedbed.dataset.folder_layout import LAYOUTS
from seedbed.dataset.sources.column_options import parse_classes
from seedbed.dataset.sources.formats import ALL_SUFFIXES, FORMATS
from seedbed.dataset.sources.source_files import find_source
from seedbed.storage import Storage

Command = Callable[..., None]
_SOURCE_OPTIONS = (
    click.option(
        "--on-error",
        type=click.Choice(["fail", "skip"]),
        default="fail",
        show_default=True,
        help="Reject the source, or skip bad files.",
    ),
    click.option(
        "--csv",
        help="CSV file with columns image, label and optionally split, group; below SOURCE, or any path or "
        "URL.",
    ),
    click.option(
        "--target",
        multiple=True,
        help="CSV column of the target, repeatable: labels (a|b), columns of 0 and 1 (two and more), or "
        "numbers.",
    ),
    click.option(
        "--source-format",
        type=click.Choice(FORMATS),
        default="auto",
        show_default=True,
        help="Format of SOURCE, if the names of its files do not show it; not with --csv.",
    ),
    click.option("--image-column", help="Column of the images: bytes, or paths below SOURCE."),
    click.option(
        "--label-column", help="Column of the classes: names, or numbers; other tasks have --target."
    ),
    click.option("--split-column", help="Column of the splits: train, validation (or val) and test."),
    click.option("--key-column", help="Column that names each row in messages and in the report."),
    click.option(
        "--classes",
        help="Class names by label: NAME,NAME,… or @FILE with one per line; not with other tasks than "
        "single-label.  [default: of SOURCE]",
    ),
    click.option(
        "--top-folders",
        type=click.Choice(LAYOUTS),
        default="auto",
        show_default=True,
        help="Meaning of the top folders of SOURCE, if their names do not show it.",
    ),
    click.option("--shard-bytes", type=click.IntRange(1), default=64 * MIB, show_default=True),
    click.option("--batch-bytes", type=click.IntRange(1), default=2 * MIB, show_default=True),
    parallelism_option,
    click.option("--engine", type=click.Choice(["auto", "local", "ray"]), default="auto", show_default=True),
    click.option("--source-secret", type=folder, help="Folder of credential files for SOURCE."),
    click.option("--dest-secret", type=folder, help="Folder of credential files for DEST."),
)


def source_options(command: Command) -> Command:
    """Add the options of commands that read a SOURCE and write rows of it to DEST."""
    for option in reversed(_SOURCE_OPTIONS):
        command = option(command)
    return command


def open_source(source: str, secret: Path | None, options: dict[str, Any]) -> tuple[Storage, dict[str, Any]]:
    """Return the storage of SOURCE, and the options with the files and the classes that it names."""
    place = find_source(source, secret=secret, suffixes=(*ALL_SUFFIXES, ".csv"))
    classes = parse_classes(options["classes"])
    if options["csv"] is None and place.files is not None and place.files[0].lower().endswith(".csv"):
        options = options | {"csv": place.files[0]}
    return place.storage, options | {"classes": classes, "source_files": place.files}
