"""What the commands of `seedbed dataset` share: options, opening a version, progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from seedbed.cli.standard_streams import echo
from seedbed.dataset import Dataset
from seedbed.dataset.renewal import RENEWAL
from seedbed.dataset.targets import SINGLE_LABEL
from seedbed.dataset.version_reference import open_version, parse_reference
from seedbed.storage import Storage, open_storage, printable_url
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line

_SECONDS_BETWEEN_LINES = 5.0
folder = click.Path(exists=True, file_okay=False, path_type=Path)
secret_option = click.option("--secret", type=folder, help="Folder of credential files for the URL.")
output_option = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
parallelism_option = click.option(
    "--parallelism",
    type=click.IntRange(1, 1024),
    default=lambda: os.cpu_count() or 1,
    help="Files or shards at a time; more than 1 uses Ray for large sources.  [default: CPUs]",
)


def open_dataset_version(text: str, secret: Path | None) -> Dataset:
    """Open `URL`, `URL@TAG` or `URL@sha256:…`; say on stderr where it should be renewed."""
    reference = parse_reference(text)
    dataset = open_version(reference, secret=secret)
    if not dataset.names_row_digests:
        echo(on_one_line(f"dataset {printable_url(reference.url)} {RENEWAL}"), err=True)
    return dataset


def open_single_label(text: str, secret: Path | None, *, verb: str) -> Dataset:
    """Open a version of a dataset of one class per row; the verb knows no other task."""
    dataset = open_dataset_version(text, secret)
    if dataset.task != SINGLE_LABEL:
        problem = (
            f"seedbed dataset {verb} is for one class per image, the task of this dataset is {dataset.task}"
        )
        fix = "use seedbed dataset show, check and export"
        raise UserError("InvalidDataset", refusal("URL", printable_url(text), problem, fix))
    return dataset


def open_destination(text: str, secret: Path | None) -> Storage:
    """Open DEST of a build; `data@v1` is a version of a dataset that is there, and no place for another."""
    reference = parse_reference(text)
    if reference.version is not None:
        fix = f"write {printable_url(reference.url)}, and name its version with seedbed dataset tag"
        problem = "names a version of a dataset, and a build makes a new one"
        raise UserError("InvalidOption", refusal("DEST", printable_url(text), problem, fix))
    return open_storage(text, secret=secret)


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
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
