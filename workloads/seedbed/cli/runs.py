"""`seedbed runs`: list, show and prune the runs of an output store."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed.cli.shared_options import store_secret
from seedbed.cli.standard_streams import echo
from seedbed_api.metric_values import main_metric
from seedbed_api.printable_text import on_one_line

if TYPE_CHECKING:
    from seedbed.runs.run_retention import StoredRun
    from seedbed.storage import Storage

_DIGITS = 12
_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group(name="runs")
def command() -> None:
    """List, show and prune the runs of an output store (the URL that `--output` or spec.output.uri names)."""


@command.command(name="list")
@click.argument("store")
@store_secret
@_output
def list_(store: str, secret: Path | None, output: str) -> None:
    """List the runs of STORE: identity, state, steps, size, model, accuracy and the sweep that uses it."""
    documents = [_document(run) for run in _runs(store, secret)]
    if output == "json":
        echo(json.dumps(documents, indent=2))
        return
    for document in documents:
        echo(_line(document))
    if not documents:
        echo("no runs here; `seedbed run` stores them in its output store", err=True)


@command.command()
@click.argument("store")
@click.argument("run")
@store_secret
def show(store: str, run: str, secret: Path | None) -> None:
    """Show a RUN of STORE, by the first digits of its identity, as JSON."""
    from seedbed.runs.run_retention import find_run

    found = find_run(_runs(store, secret), run)
    echo(json.dumps(_document(found) | {"recipe": dict(found.recipe)}, indent=2))


@command.command()
@click.argument("store")
@click.argument("names", metavar="[RUN]...", nargs=-1)
@click.option("--yes", is_flag=True, help="Remove the runs; without it they are only listed.")
@store_secret
def prune(store: str, names: Sequence[str], *, yes: bool, secret: Path | None) -> None:
    """Remove unused runs of STORE: the given ones, or else all that are not complete.

    Runs are not removed while they are trained, or if a sweep has started them or has them in its record.
    """
    from seedbed.runs.run_deletion import RunInUse
    from seedbed.runs.run_retention import delete_run, select_removable

    chosen = select_removable(_runs(store, secret), names)
    for run in chosen:
        try:
            if yes:
                delete_run(run)
            echo(f"{'removed' if yes else 'would remove'}  {_line(_document(run))}")
        except RunInUse:
            echo(f"not removed: it is being trained  {_line(_document(run))}", err=True)
    if chosen and not yes:
        echo("nothing was removed; add --yes to remove", err=True)


def _runs(store: str, secret: Path | None) -> list[StoredRun]:
    from seedbed.driver.error_policy import errors_name_field
    from seedbed.runs.run_retention import list_runs
    from seedbed.storage import open_output

    with errors_name_field("STORE"):
        output: Storage = open_output(store, secret=secret)
        return list(list_runs(output))


def _document(run: StoredRun) -> dict[str, Any]:
    result = run.result
    return {
        "runID": run.folder.run_id,
        "state": run.status,
        "step": run.step,
        "bytes": run.bytes,
        "model": run.model,
        "metrics": {} if result is None else result.metrics,
        "weightsDigest": None if result is None else result.outcome.weights_digest,
        "sweep": run.sweep,
    }


def _line(document: dict[str, Any]) -> str:
    from rich.filesize import decimal

    metric, value = main_metric(document["metrics"])
    columns = [
        document["runID"].removeprefix("sha256:")[:_DIGITS],
        f"{document['state']:<8}",
        f"step {document['step']:>6}",
        f"{decimal(document['bytes']):>9}",
        f"{on_one_line(document['model']):<12}",
        f"{metric} {value}" if metric else "",
        f"sweep {document['sweep'][:_DIGITS]}" if document["sweep"] else "",
    ]
    return "  ".join(columns).rstrip()
