"""`seedbed dataset stats`: class balance, sizes, mean and deviation, copies and leakage between splits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from rich.filesize import decimal

from seedbed.cli.dataset_options import (
    open_single_label,
    output_option,
    parallelism_option,
    progress_bar,
    secret_option,
)
from seedbed.cli.dataset_printing import print_classes
from seedbed.cli.standard_streams import echo
from seedbed.dataset.file_format import SPLITS
from seedbed.dataset.near_duplicates import MOST_DISTANCE
from seedbed.dataset.row_statistics import measure_dataset
from seedbed.dataset.statistics_report import statistics_document
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line

_DIGITS = 12


@click.command()
@click.argument("url")
@click.option(
    "--distance",
    type=click.IntRange(0, MOST_DISTANCE),
    default=3,
    show_default=True,
    help="Bits of 128 in which near-duplicates may differ; 0: equal hashes only.",
)
@click.option(
    "--limit", type=click.IntRange(0, 100_000), default=20, show_default=True, help="Groups to list."
)
@click.option("--fail-on-leakage", is_flag=True, help="Exit code 2 if splits share near-duplicates.")
@parallelism_option
@secret_option
@output_option
def stats(
    url: str,
    secret: Path | None,
    distance: int,
    limit: int,
    parallelism: int,
    output: str,
    *,
    fail_on_leakage: bool,
) -> None:
    """Read a dataset completely and print statistics of its rows.

    Class balance, sizes and formats of images, mean and deviation of their channels, copies by bytes,
    near-duplicates by a perceptual hash, and how many of them are in several splits. For one class per image.
    """
    dataset = open_single_label(url, secret, verb="stats")
    with progress_bar() as progress:
        found = measure_dataset(dataset, distance=distance, threads=min(parallelism, 32), progress=progress)
    document = statistics_document(found, listed=limit)
    if output == "json":
        echo(json.dumps(document, indent=1))
    else:
        print_classes(dataset.manifest)
        _print(document)
    leaked = sum(pair["rows"] for pair in document["leakage"])
    if fail_on_leakage and leaked:
        fix = "build with groups that keep near-duplicates in one split, or remove them"
        raise UserError("Leakage", refusal("URL", url, "splits share near-duplicates", fix))


def _print(document: dict[str, Any]) -> None:
    for split in SPLITS:
        if document["splits"][split]["rows"]:
            _print_split(split, document["splits"][split])
    echo(_summary("same bytes", document["sameBytes"]))
    near = document["nearDuplicates"]
    partly = "; more are possible, as too many hashes are alike" if near["incomplete"] else ""
    echo(_summary(f"near-duplicates (at most {near['distance']} of 128 bits)", near) + partly)
    for group in near["listed"]:
        echo(on_one_line(f"  {_members(group)}"))
    for pair in document["leakage"]:
        if pair["rows"]:
            echo(f"leakage: {pair['rows']} rows of {pair['of']} have a near-duplicate in {pair['in']}")
    echo(document["digest"])


def _print_split(split: str, found: dict[str, Any]) -> None:
    formats = ", ".join(f"{count} {name}" for name, count in found["formats"].items())
    echo(f"{split}: {found['rows']} rows, {decimal(found['bytes'])}, {formats}")
    sides = (f"{name} {'/'.join(map(str, found[name].values()))}" for name in ("width", "height"))
    different = found["sizes"]["different"]
    more = "more than " if found["sizes"]["uncounted"] else ""
    echo(f"  {', '.join(sides)} (least/median/most), {more}{different} sizes")
    for name in ("mean", "deviation"):
        values = " ".join(channel[name] for channel in found["channels"])
        echo(f"  {name:<9} {values} (red green blue, of 1)")


def _summary(name: str, found: dict[str, Any]) -> str:
    if not found["groups"]:
        return f"{name}: none"
    across = f"{found['acrossSplits']} across splits, {found['acrossClasses']} across classes"
    return f"{name}: {found['rows']} rows in {found['groups']} groups, {across}"


def _members(group: dict[str, Any]) -> str:
    members = (f"{row['id'][:_DIGITS]} {row['split']} {row['class']}" for row in group["listed"])
    more = group["rows"] - len(group["listed"])
    return " = ".join(members) + (f" … and {more} more" if more else "")
