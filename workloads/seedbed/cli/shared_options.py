"""Command-line options shared by several commands: credential files of the store."""

from __future__ import annotations

from pathlib import Path

import click

store_secret = click.option(
    "--secret",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of credential files for the store.",
)
