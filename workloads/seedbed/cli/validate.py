"""`seedbed validate -f FILE`: print every mistake of the manifests with line, field, value and fix."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from seedbed.cli.standard_streams import echo
from seedbed_api.admission_warnings import admission_warnings
from seedbed_api.base_model import Block
from seedbed_api.errors import UserError
from seedbed_api.manifest_loader import is_seedbed_resource, unknown_status_fields, validate_document
from seedbed_api.printable_text import on_one_line
from seedbed_api.sweepjob import SweepJob
from seedbed_api.yaml_documents import Document, Found, found_in, read_text, text_of

STDIN = "-"


@click.command(name="validate")
@click.option("-f", "--file", "files", multiple=True, required=True, help="Manifest file, or - for stdin.")
def command(files: Sequence[str]) -> None:
    """Check manifests like `kubectl apply`, and print line, field, value and fix of every mistake.

    A file may hold several documents, and lists of them; those that are not of seedbed.dev are skipped.
    """
    mistakes = [line for file in files for line in check_file(file)]
    for line in mistakes:
        echo(line, err=True)
    if mistakes:
        raise click.exceptions.Exit(UserError.exit_code)


def check_file(file: str) -> list[str]:
    """Print valid documents and warnings; return one line for each mistake."""
    try:
        documents = found_in(_text(file), _name(file))
    except UserError as error:
        return error.message.splitlines()
    return [line for found in documents for line in _check_all(found, _name(file))]


def _text(file: str) -> str:
    return text_of(sys.stdin.buffer, "stdin") if file == STDIN else read_text(Path(file))


def _name(file: str) -> str:
    return "stdin" if file == STDIN else file


def _check_all(found: Found, name: str) -> Iterator[str]:
    """Yield the mistakes of a document, or of the entries of a list."""
    for key, line in found.repeated:
        text = f"{name}:{line} {key}: appears twice in its block, and the last one counts; remove one"
        echo(f"warning: {text}", err=True)
    try:
        items = found.items()
    except UserError as error:
        yield f"{name}:{found.line} {error.message}"
        return
    for item in items:
        yield from _check(item, name)


def _check(found: Found, name: str) -> Iterator[str]:
    document = found.content
    if not isinstance(document, dict):
        kind = type(document).__name__
        yield f"{name}:{found.line}: is a {kind}, not a manifest; begin it with apiVersion and kind"
        return
    if not is_seedbed_resource(document):
        echo(f"skipped: {_title(document)} (not of seedbed.dev)")
        return
    mistakes = _mistakes(document)
    if isinstance(mistakes, Block):
        _report(mistakes, found, name)
        return
    for line in mistakes:
        yield f"{_place(found, name, line)} {line}"


def _place(found: Found, name: str, line: str) -> str:
    return f"{name}:{found.line_of(line.partition(': ')[0])}"


def _mistakes(document: Document) -> Block | list[str]:
    """Return the resource of a document, or one line for each of its mistakes.

    The API server drops the status of an applied object, but first rejects unknown field names in it.
    """
    try:
        resource = validate_document({name: value for name, value in document.items() if name != "status"})
    except UserError as error:
        return error.message.splitlines()
    if lines := list(unknown_status_fields(resource, document.get("status"))):
        return lines
    if isinstance(resource, SweepJob):
        from seedbed.search.sweep_validation import search_errors  # numpy, for sweeps alone

        return search_errors(resource.spec) or resource
    return resource


def _report(resource: Block, found: Found, name: str) -> None:
    for line in admission_warnings(resource):
        echo(f"warning: {_place(found, name, line)} {line}", err=True)
    echo(f"ok: {_title(found.content)}")


def _title(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    name = metadata.get("name", "?") if isinstance(metadata, dict) else "?"
    return on_one_line(f"{document.get('kind', '?')}/{name}")
