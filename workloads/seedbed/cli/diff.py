"""`seedbed diff`: print the first difference between two runs, from recipe to weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from seedbed.cli.standard_streams import echo
from seedbed_api.errors import UserError


@click.command("diff")
@click.argument("a")
@click.argument("b")
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("-o", "output_format", type=click.Choice(["json"]), help="Print the comparison as JSON.")
def command(a: str, b: str, output_secret: Path | None, output_format: str | None) -> None:
    """Name the first step and tensor at which two runs differ.

    A and B are run folders or receipts, paths or URLs; a run need not have ended. Steps are counted as
    checkpoints are: step 1 is the first. Exit code 0 if all is equal, 2 if something differs.
    """
    from seedbed.replay.run_comparison import compare_runs, lines
    from seedbed.replay.run_record import open_run_record

    comparison = compare_runs(
        open_run_record(a, secret=output_secret), open_run_record(b, secret=output_secret)
    )
    if output_format == "json":
        echo(json.dumps(comparison.document(), indent=2))
    else:
        echo(f"A: {comparison.a}\nB: {comparison.b}")
        for line in lines(comparison):
            echo(line)
    sys.exit(0 if comparison.equal else UserError.exit_code)
