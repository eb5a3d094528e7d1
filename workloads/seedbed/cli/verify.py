"""`seedbed verify`: recompute a window of a run and hold it against its receipt."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from seedbed.cli.standard_streams import answering, printable
from seedbed_api.errors import UserError

if TYPE_CHECKING:
    from seedbed.replay.receipt_location import LocatedReceipt
    from seedbed.replay.stored_integrity import StoredIntegrity
    from seedbed.replay.verification import VerificationResult


@click.command("verify")
@click.argument("receipt")
@click.option("--from-step", type=int, metavar="A", help="Steps completed before the window; default 0.")
@click.option("--to-step", type=int, metavar="B", help="Steps completed after it; default all of the run's.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--dataset", metavar="URL", help="Present URL of the dataset, instead of the receipt's.")
@click.option("--run", metavar="URL", help="The run folder, where the receipt does not lie in it.")
@click.option(
    "--code", type=click.Path(path_type=Path, exists=True), help="The entrypoint's code: folder, wheel."
)
@click.option("--dataset-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("-o", "output_format", type=click.Choice(["json"]), help="Print the verdict as JSON.")
def command(**arguments: Any) -> None:
    """Recompute steps of a run and compare them, bit by bit, with its receipt.

    RECEIPT is receipt.json or the run folder, a path or URL. Receipt, model files, ledger and checkpoints
    are checked first; then steps A to B are computed again from the newest checkpoint at or before A, without
    writing anything. The number of workers may be any: the bits do not depend on it.
    """
    if arguments["output_format"] == "json":
        with answering() as answer:
            verdict = _answered(arguments, answer)
    else:
        verdict = _verify(arguments, quiet=False)
        click.echo(printable(_sentence(verdict)))
    sys.exit(0 if verdict.reproduced else UserError.exit_code)


def _answered(arguments: dict[str, Any], answer: TextIO) -> VerificationResult:
    """Verify, and answer in JSON whether that could be done or not."""
    try:
        verdict = _verify(arguments, quiet=True)
    except UserError as error:
        refused = {"result": "refused", "reason": error.reason, "message": error.message}
        answer.write(json.dumps(refused, indent=2) + "\n")
        raise
    answer.write(json.dumps(verdict.document(), indent=2) + "\n")
    return verdict


def _verify(arguments: dict[str, Any], *, quiet: bool) -> VerificationResult:
    from seedbed.replay.receipt_location import locate_receipt
    from seedbed.storage import absolute_path, absolute_url

    claim = locate_receipt(arguments["receipt"], run=arguments["run"], secret=arguments["output_secret"])
    secret, code = (
        None if arguments[name] is None else absolute_path(arguments[name])
        for name in ("dataset_secret", "code")
    )
    dataset = None if arguments["dataset"] is None else absolute_url(arguments["dataset"])
    _pin(claim)
    from seedbed.replay.verification import VerificationObserver, Window, verify
    from seedbed.replay.worker_config_from_receipt import DataSources

    sources = DataSources(
        dataset=dataset,
        dataset_secret=secret,
        code=code,
        workers=arguments["workers"],
    )
    window = Window(first=arguments["from_step"], last=arguments["to_step"])
    progress = _Progress()
    watcher = VerificationObserver(began=progress.began, step=progress.step)
    if not quiet:
        watcher.stored = lambda stored: _tell_stored(claim, stored)
    try:
        return verify(claim, window, sources, watcher)
    finally:
        progress.close()


def _pin(claim: LocatedReceipt) -> None:
    """Pin this process as the run was pinned, before torch is imported."""
    from seedbed.driver.job_locations import leave_deleted_working_directory, set_absolute_variables
    from seedbed.environment.environment_pins import CPU_CLASSES, pin_environment
    from seedbed.environment.process_start import restart_as_cpu_class
    from seedbed.replay.stored_integrity import stored_environment

    set_absolute_variables(os.environ)
    leave_deleted_working_directory()
    recorded = None if claim.folder is None else stored_environment(claim.folder, claim.receipt.decided)
    if recorded is not None and recorded["cpu"]["class"] in CPU_CLASSES:
        restart_as_cpu_class(recorded["cpu"]["class"], threads=recorded["cpu"]["threads"])
    else:
        pin_environment(os.environ)


def _tell_stored(claim: LocatedReceipt, stored: StoredIntegrity | None) -> None:
    if stored is None:
        click.echo("receipt: verified; no run folder is around it, so the receipt alone is compared with")
        return
    click.echo(f"stored: the receipt and {_listed(stored.verified)} agree")
    for what in stored.missing:
        click.echo(f"missing: {what}, in {claim.folder.url if claim.folder else claim.shown}")


def _listed(words: tuple[str, ...]) -> str:
    if len(words) < 2:
        return "".join(words) or "nothing else"
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _sentence(verdict: VerificationResult) -> str:
    if verdict.difference is not None:
        return f"differs: {verdict.difference.line}"
    begin = f"the checkpoint of step {verdict.started}" if verdict.started else "the first weights"
    how = f"{_count(verdict.steps, 'step')} recomputed from {begin} with {_count(verdict.workers, 'worker')}"
    window = f"steps {verdict.first}..{verdict.last}"
    if not verdict.reproduced:
        why = "nothing that is stored tells what they led to"
        return f"not verified: {window}: {why}; {how}, weights {verdict.weights_digest}"
    return f"reproduced: {window}, {how}, weights {verdict.weights_digest}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


class _Progress:
    """How far the recomputing is, on stderr, where that is a terminal."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._done = 0

    def began(self, start: int, stop: int) -> None:
        """Draw the bar."""
        if sys.stderr.isatty():
            self._done = start
            self._bar = click.progressbar(
                length=stop - start, label="recomputing", file=sys.stderr, show_pos=True
            )
            self._bar.__enter__()

    def step(self, completed: int) -> None:
        """Advance the bar."""
        if self._bar is not None:
            self._bar.update(completed - self._done)
            self._done = completed

    def close(self) -> None:
        """End the line of the bar."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
