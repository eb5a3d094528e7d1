"""`seedbed dataset sample`: look at some rows of a dataset."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from seedbed.cli.dataset_options import folder, open_single_label, secret_option
from seedbed.cli.standard_streams import echo
from seedbed.dataset import Dataset
from seedbed.dataset.contact_sheet import SHEETS, write_images
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.row_sampling import SampledRow, SampleOptions, sample_rows
from seedbed.storage import open_storage, printable_url
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line


@click.command()
@click.argument("url")
@click.argument("dest")
@click.option(
    "-n", "--rows", type=click.IntRange(1, 10_000), default=16, show_default=True, help="Rows to draw."
)
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True)
@click.option(
    "--split", "splits", type=click.Choice(SPLITS), multiple=True, help="Of this split; may be repeated."
)
@click.option("--class", "classes", multiple=True, help="Of this class; may be repeated.")
@click.option("--per-class", is_flag=True, help="Draw so many rows of each class.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["images", *SHEETS]),
    help="Image files below DEST, or one contact sheet.  [default: by the suffix of DEST]",
)
@secret_option
@click.option("--dest-secret", type=folder, help="Folder of credential files for DEST.")
def sample(
    url: str,
    dest: str,
    rows: int,
    seed: int,
    splits: tuple[str, ...],
    classes: tuple[str, ...],
    layout: str | None,
    secret: Path | None,
    dest_secret: Path | None,
    *,
    per_class: bool,
) -> None:
    """Write some images of a dataset to DEST: a new folder, or a contact sheet (.html or .png).

    The same seed draws the same rows of the same dataset. For datasets of one class per image.
    """
    options = SampleOptions(
        rows=rows, seed=seed, splits=splits or SPLITS, classes=classes, per_class=per_class
    )
    dataset = open_single_label(url, secret, verb="sample")
    drawn = sample_rows(dataset, options)
    layout = layout or next((name for name in SHEETS if dest.lower().endswith(f".{name}")), "images")
    if layout == "images":
        count = _write_folder(dest, dest_secret, dataset, drawn, seed)
    else:
        count = _write_sheet(dest, dest_secret, dataset, drawn, layout)
    echo(on_one_line(f"sampled {count} of {dataset.manifest.total} rows: {printable_url(dest)}"))


def _write_folder(
    dest: str, secret: Path | None, dataset: Dataset, drawn: Iterator[SampledRow], seed: int
) -> int:
    storage = open_storage(dest, secret=secret)
    if storage.list():
        line = refusal("DEST", storage.url, "the folder is not empty", "choose another one")
        raise UserError("OutputExists", line)
    return write_images(storage, dataset, drawn, seed=seed)


def _write_sheet(
    dest: str, secret: Path | None, dataset: Dataset, drawn: Iterator[SampledRow], layout: str
) -> int:
    parent, slash, name = dest.rpartition("/")
    storage = open_storage((parent or slash) or ".", secret=secret)
    data, count = SHEETS[layout](dataset, drawn)
    if not storage.create(name, data):
        fix = "choose another name, or remove it"
        raise UserError("OutputExists", refusal("DEST", printable_url(dest), "the file exists", fix))
    return count
