"""`seedbed dataset diff`: compare two datasets, or two versions of one, row by row."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from seedbed.cli.dataset_options import open_single_label, output_option, progress_bar
from seedbed.cli.standard_streams import echo
from seedbed.dataset.comparison import KINDS, Comparison, compare_datasets
from seedbed.dataset.version_reference import parse_reference
from seedbed_api.errors import UserError
from seedbed_api.printable_text import on_one_line

_DIGITS = 12
_MEANINGS = {
    "added": "in B alone",
    "removed": "in A alone",
    "relabelled": "other class",
    "moved": "other split",
    "regrouped": "other group",
    "changed": "other stored bytes",
}
_secret_path = click.Path(exists=True, file_okay=False, path_type=Path)


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--secret", type=_secret_path, help="Folder of credential files for A.")
@click.option("--b-secret", type=_secret_path, help="The same for B.  [default: those of A]")
@click.option(
    "--limit",
    type=click.IntRange(0, 100_000),
    default=20,
    show_default=True,
    help="Rows to list per kind; counts are exact.",
)
@click.option("--check", is_flag=True, help="Also read all images of shards that only one has.")
@output_option
def diff(
    a: str, b: str, secret: Path | None, b_secret: Path | None, limit: int, *, check: bool, output: str
) -> None:
    """Compare B with A: rows added, removed, relabelled, moved between splits, or with other bytes.

    A and B are datasets (paths or URLs), also URL@TAG and URL@sha256:DIGITS. B may be a version of A: @TAG or
    sha256:DIGITS. Exit code 0 if the digests are equal, 2 if something differs.
    """
    one = open_single_label(a, secret, verb="diff")
    other = open_single_label(_of_same_dataset(a, b), b_secret or secret, verb="diff")
    with progress_bar() as progress:
        found = compare_datasets(one, other, listed=limit, check_images=check, progress=progress)
    if output == "json":
        echo(json.dumps(found.document(), indent=1))
    else:
        _print(found)
    sys.exit(0 if found.equal else UserError.exit_code)


def _of_same_dataset(a: str, b: str) -> str:
    """Return B with the URL of A where B is a version alone."""
    if re.fullmatch(r"sha256:[0-9a-f]*", b):
        b = f"@{b}"
    return f"{parse_reference(a).url}{b}" if b.startswith("@") and not Path(b).exists() else b


def _print(found: Comparison) -> None:
    for name, dataset in (("A", found.a), ("B", found.b)):
        echo(on_one_line(f"{name}: {dataset.storage.url}: {dataset.manifest.total} rows, {dataset.digest}"))
    if found.equal:
        echo("equal")
        return
    for kind, classes in found.classes().items():
        if classes:
            echo(on_one_line(f"classes {kind}: {', '.join(classes)}"))
    for kind in KINDS:
        if found.counts[kind]:
            echo(f"{kind}: {found.counts[kind]} ({_MEANINGS[kind]})")
            _print_rows(found, kind)
    echo(f"same: {found.same_rows}")
    if not found.counts.total():
        echo("all rows are equal; their order, the classes or the boundaries of shards differ")


def _print_rows(found: Comparison, kind: str) -> None:
    rows = found.listed.get(kind, [])
    for row in rows:
        echo(on_one_line(f"  {_line(row)}"))
    if len(rows) < found.counts[kind] and rows:
        echo(f"  … and {found.counts[kind] - len(rows)} more (--limit lists them)")


def _line(row: dict[str, dict[str, Any]]) -> str:
    sides = list(row.values())
    first, last = sides[0], sides[-1]
    parts = [first["id"][:_DIGITS]]
    if first["id"] != last["id"]:
        parts[0] += f" → {last['id'][:_DIGITS]}"
    parts += [
        first[name] if first[name] == last[name] else f"{first[name]} → {last[name]}"
        for name in ("split", "class")
    ]
    numbers = (f"row {side['row']} of {name.upper()}" for name, side in row.items())
    return f"{parts[0]}  {parts[1]}  {parts[2]}  ({', '.join(numbers)})"
