"""`seedbed dataset versions` and `tag`: the lineage of a dataset and the names of its versions."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from seedbed.cli.dataset_options import open_dataset_version, output_option, secret_option
from seedbed.cli.standard_streams import echo
from seedbed.dataset.lineage import Version, list_versions
from seedbed.dataset.version_reference import parse_reference
from seedbed.dataset.version_tags import delete_tag, list_tags, set_tag
from seedbed.storage import open_storage
from seedbed_api.errors import UserError, refusal
from seedbed_api.printable_text import on_one_line


@click.command()
@click.argument("url")
@secret_option
@output_option
def versions(url: str, secret: Path | None, output: str) -> None:
    """List the versions of a dataset, the newest first: digest, parent, rows, what was added, tags."""
    storage = open_storage(url, secret=secret)
    found = list_versions(storage)
    names = _names_by_digest(list_tags(storage))
    if output == "json":
        echo(json.dumps([asdict(one) | {"tags": names.get(one.digest, [])} for one in found], indent=1))
        return
    for one in found:
        echo(on_one_line(_line(one, names.get(one.digest, []))))


@click.command()
@click.argument("url")
@click.argument("name", required=False)
@click.option("--move", is_flag=True, help="Point a tag that exists at this version.")
@click.option("--delete", is_flag=True, help="Remove the tag; the version stays.")
@secret_option
@output_option
def tag(url: str, name: str | None, secret: Path | None, output: str, *, move: bool, delete: bool) -> None:
    """Name a version of a dataset, or list all tags.

    URL is the newest version, URL@TAG and URL@sha256:DIGITS are others. A tag can be moved later; what must
    not change names a digest.
    """
    if name is None and (move or delete):
        flag = "--move" if move else "--delete"
        raise UserError("InvalidOption", refusal(flag, True, "names no tag", "write the name after the URL"))
    if move and delete:
        raise UserError("InvalidOption", refusal("--delete", True, "does not go with --move", "keep one"))
    if name is None:
        _list(parse_reference(url).url, secret, output)
    elif delete:
        digest = delete_tag(open_storage(parse_reference(url).url, secret=secret), name)
        _answer({"tag": name, "digest": digest, "outcome": "deleted"}, output)
    else:
        dataset = open_dataset_version(url, secret)
        changed = set_tag(dataset.storage, name, dataset.digest, move=move)
        outcome = "set" if changed else "already there"
        _answer({"tag": name, "digest": dataset.digest, "outcome": outcome}, output)


def _list(url: str, secret: Path | None, output: str) -> None:
    storage = open_storage(url, secret=secret)
    open_dataset_version(url, secret)
    tags = list_tags(storage)
    if output == "json":
        echo(json.dumps(tags, indent=1))
        return
    for name, digest in tags.items():
        echo(f"{name}  {digest}")
    if not tags:
        echo("no tags here; `seedbed dataset tag URL NAME` sets one", err=True)


def _answer(document: dict[str, Any], output: str) -> None:
    if output == "json":
        echo(json.dumps(document, indent=1))
    else:
        echo(f"{document['outcome']}: {document['tag']}: {document['digest']}")


def _names_by_digest(tags: dict[str, str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name, digest in tags.items():
        names.setdefault(digest, []).append(name)
    return names


def _line(version: Version, names: list[str]) -> str:
    addition = version.addition
    columns = [f"{version.version:>4}", version.digest, f"{version.rows} rows", f"{version.classes} classes"]
    if version.parent is not None:
        columns.append(f"of {version.parent[:19]}")
    if addition is not None:
        columns.append(f"+{sum(addition.added.values())} from {addition.source}")
    return "  ".join([*columns, *(f"[{name}]" for name in names)])
