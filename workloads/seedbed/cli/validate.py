"""`seedbed validate -f FILE`: every mistake of every document, one line each."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from seedbed.cli.stdio import on_one_line, printable
from seedbed_api.advice import advice
from seedbed_api.blocks import Block
from seedbed_api.documents import REASON, Document, parse, read_text
from seedbed_api.errors import UserError
from seedbed_api.manifests import is_ours, validated
from seedbed_api.sweepjob import SweepJob

STDIN = "-"


@click.command(name="validate")
@click.option("-f", "--file", "files", multiple=True, required=True, help="Manifest file, or - for stdin.")
def command(files: Sequence[str]) -> None:
    """Check manifests and name field, value and fix of every mistake.

    A file may hold several documents; those that are not of seedbed.dev are skipped.
    """
    mistakes = [line for file in files for line in check_file(file)]
    for line in mistakes:
        click.echo(printable(line), err=True)
    if mistakes:
        raise click.exceptions.Exit(UserError.exit_code)


def check_file(file: str) -> list[str]:
    """Print what is right and what could be better; return one line for each mistake."""
    try:
        documents = _documents(file)
    except UserError as error:
        return error.message.splitlines()
    places = [f"{_name(file)}:{index}" for index in range(1, len(documents) + 1)]
    return [
        line for place, document in zip(places, documents, strict=True) for line in _check(document, place)
    ]


def _documents(file: str) -> list[Document]:
    if file == STDIN:
        return parse(_stdin_text(), _name(file))
    return parse(read_text(Path(file)), _name(file))


def _stdin_text() -> str:
    content = sys.stdin.buffer.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(REASON, f"stdin: is not UTF-8 at byte {error.start}; save it as UTF-8") from error


def _name(file: str) -> str:
    return "stdin" if file == STDIN else file


def _check(document: Document, place: str) -> list[str]:
    if not is_ours(document):
        click.echo(f"skipped: {_title(document)} (not of seedbed.dev)")
        return []
    try:
        resource = validated(document, place)
    except UserError as error:
        return error.message.splitlines()
    if isinstance(resource, SweepJob):
        from seedbed.search.checking import impossible_search  # numpy, for sweeps alone

        if lines := impossible_search(resource.spec):
            return [f"{place} {line}" for line in lines]
    _report(resource, document, place)
    return []


def _report(resource: Block, document: Document, place: str) -> None:
    for line in advice(resource):
        click.echo(printable(f"warning: {place} {line}"), err=True)
    click.echo(f"ok: {_title(document)}")


def _title(document: Document) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
    return on_one_line(f"{document.get('kind', '?')}/{name}")
