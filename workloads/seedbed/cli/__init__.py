"""The `seedbed` command line: its subcommands, each imported only when it is called, and its errors."""

from __future__ import annotations

import sys
from importlib import import_module

from seedbed.startup.import_path import exclude_working_folder, search_own_modules_first

search_own_modules_first()

import click

from seedbed.cli.standard_streams import StdoutError, echo, flush_stdout, prepare_streams, report_defect
from seedbed_api.errors import SeedbedError

_INTERRUPTED = 130
"""Exit code after Ctrl-C."""

_COMMANDS = {
    "run": ("seedbed.cli.run", "Train a TrainingJob, or the trials of a SweepJob, on this machine."),
    "runs": ("seedbed.cli.runs", "List, show and prune the runs of an output store."),
    "top": ("seedbed.cli.top", "Show the jobs of a cluster, or the runs of an output store, live."),
    "logs": ("seedbed.cli.logs", "Print the log of a run from its output store."),
    "validate": ("seedbed.cli.validate", "Check manifests and name field, value and fix of every mistake."),
    "dataset": ("seedbed.cli.dataset", "Build, extend, compare, show, check and export datasets."),
    "verify": ("seedbed.cli.verify", "Recompute a window of a run from its receipt."),
    "sign": ("seedbed.cli.sign", "Sign the receipt of a run with a key of your own."),
    "driver": ("seedbed.cli.pod_programs:driver_command", "Run the driver of one attempt in a pod."),
    "worker": ("seedbed.cli.pod_programs:worker_command", "Run a worker of one attempt in a pod."),
    "verifier": ("seedbed.cli.pod_programs:verifier_command", "Verify a complete job in a pod."),
    "signature-uploader": (
        "seedbed.cli.pod_programs:signature_uploader_command",
        "Store the signature of a complete job in a pod.",
    ),
    "diff": ("seedbed.cli.diff", "Name the first step and tensor at which two runs differ."),
}


_COMPUTING = frozenset({"run", "verify", "driver", "worker", "verifier"})
"""Subcommands that compute a model: they need the environment pins at process start."""


class LazyGroup(click.Group):
    """A group that imports the module of a subcommand only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the subcommands in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import a subcommand: the object after the colon, else `command` of its module."""
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name or "command")
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Reject an unknown subcommand with the list of subcommands."""
        if args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(f"there is no command {args[0]!r}, only {', '.join(_COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Write the table of subcommands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="seedbed")
def cli() -> None:
    """Train image models reproducibly: one manifest gives one model, bit for bit."""


def main() -> None:
    """Run the command line; an expected error is one line on stderr and its exit code."""
    is_program = sys._getframe(1).f_globals.get("__name__") == "__main__"
    prepare_streams()
    if is_program:
        sys.excepthook = report_defect
    try:
        try:
            code = _run(is_program=is_program)
        except SystemExit as end:
            flush_stdout()
            raise end from None
        flush_stdout()
    except StdoutError as error:
        echo(error.line, err=True, nl=bool(error.line))
        code = error.exit_code
    sys.exit(code)


def _run(*, is_program: bool) -> int:
    try:
        if is_program:
            _begin_process(next((argument for argument in sys.argv[1:] if argument[:1] != "-"), ""))
        code = cli.main(prog_name="seedbed", standalone_mode=False)
    except SeedbedError as error:
        echo(f"error: {error.reason}: {error.message}", err=True)
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return error.exit_code
    except click.ClickException as error:
        echo(f"error: InvalidUsage: {_one_line(error)}", err=True)
        return error.exit_code
    except click.Abort:
        echo("error: Interrupted: ended at once; the same command continues where it can", err=True)
        return _INTERRUPTED
    return code if isinstance(code, int) else 0


def _begin_process(command: str) -> None:
    if command in _COMPUTING:
        from seedbed.environment.process_start import restart_if_unpinned  # takes 0.04 s

        restart_if_unpinned()
    exclude_working_folder()


def _one_line(error: click.ClickException) -> str:
    """Return a usage error on one line, with the command that prints the help."""
    problem = " ".join(error.format_message().split()).rstrip(".")
    context = getattr(error, "ctx", None)
    return f"{problem}; see `{context.command_path if context else 'seedbed'} --help`"
