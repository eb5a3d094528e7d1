"""The `seedbed` command: each subcommand is a module of this package, imported only when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from seedbed_api.errors import SeedbedError

_COMMANDS = {
    "run": ("seedbed.cli.run", "Train a model from a TrainingJob manifest on this machine."),
    "validate": ("seedbed.cli.validate", "Check manifests and name field, value and fix of every mistake."),
    "dataset": ("seedbed.cli.dataset", "Build, show, check and export datasets."),
    "verify": ("seedbed.cli.verify", "Recompute a window of a run from its receipt."),
    "diff": ("seedbed.cli.diff", "Name the first step and tensor at which two runs part."),
}


class LazyGroup(click.Group):
    """A group that imports a subcommand's module only when that subcommand is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the subcommands in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return the `command` object of the subcommand's module."""
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of subcommands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedbed")
def cli() -> None:
    """One manifest gives one model, bit for bit."""


def main() -> None:
    """Run the command line; an expected failure is one line on stderr and its exit code."""
    try:
        cli.main(standalone_mode=True)
    except SeedbedError as error:
        click.echo(f"error: {error.reason}: {error.message}", err=True)
        sys.exit(error.exit_code)
