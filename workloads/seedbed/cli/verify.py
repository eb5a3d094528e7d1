"""`seedbed verify`: recompute a window of a run and compare it with its receipt."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from seedbed.cli.standard_streams import echo, reserve_stdout
from seedbed_api.errors import UserError

# modules of `seedbed.replay` are imported where they are used: they import torch (2.3 s), which must find the
# pins in place
if TYPE_CHECKING:
    from seedbed.replay.receipt_location import LocatedReceipt
    from seedbed.replay.stored_integrity import StoredIntegrity
    from seedbed.replay.verification import VerificationResult


@click.command("verify")
@click.argument("receipt")
@click.option("--from-step", type=int, metavar="A", help="Steps completed before the window; default 0.")
@click.option("--to-step", type=int, metavar="B", help="Steps completed after the window; default all.")
@click.option("--workers", type=click.IntRange(min=1), default=1, show_default=True, help="Worker processes.")
@click.option("--dataset", metavar="URL", help="URL of the dataset, instead of the one in the receipt.")
@click.option("--run", metavar="URL", help="The run folder, if the receipt is not in it.")
@click.option(
    "--code", type=click.Path(path_type=Path, exists=True), help="The entrypoint's code: folder, wheel."
)
@click.option("--weights", metavar="URL", help="The weights it started from, if not where the receipt says.")
@click.option("--dataset-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("--policy", type=click.Path(path_type=Path), metavar="FILE", help="Whose signatures count.")
@click.option(
    "--signature",
    "signatures",
    type=click.Path(path_type=Path),
    metavar="FILE",
    multiple=True,
    help="An envelope or bundle that is not beside the receipt; repeatable.",
)
@click.option("--require-signature", is_flag=True, help="Refuse a receipt that the policy does not accept.")
@click.option("-o", "output_format", type=click.Choice(["json"]), help="Print the result as JSON.")
def command(**arguments: Any) -> None:
    """Recompute steps of a run and compare them, bit by bit, with its receipt.

    RECEIPT is receipt.json or the run folder, a path or URL. Receipt, model files, ledger and checkpoints
    are checked first; then steps A to B are recomputed from the newest checkpoint at or before A. Nothing is
    written. Any number of workers gives the same bits.

    With --policy the signatures beside the receipt are looked at first. With --require-signature a receipt
    without them is refused, and the dataset must be your own: --dataset URL.
    """
    if arguments["output_format"] == "json":
        with reserve_stdout() as output:
            result = _verify_as_json(arguments, output)
    else:
        result = _verify(arguments, quiet=False)
        echo(result.sentence)
    sys.exit(0 if result.reproduced else UserError.exit_code)


def _verify_as_json(arguments: dict[str, Any], output: TextIO) -> VerificationResult:
    """Verify, and print the result or a user error as JSON."""
    try:
        result = _verify(arguments, quiet=True)
    except UserError as error:
        refused = {"result": "refused", "reason": error.reason, "message": error.message}
        output.write(json.dumps(refused, indent=2) + "\n")
        raise
    output.write(json.dumps(result.document(), indent=2) + "\n")
    return result


def _check_signatures(arguments: dict[str, Any], located: LocatedReceipt, *, quiet: bool) -> tuple[str, ...]:
    """Return the accepted signers by name. Raises UserError ReceiptUnsigned where they are required."""
    if arguments["policy"] is None:
        return ()
    from seedbed.replay.signature_check import accepted_signers

    signers, line = accepted_signers(located, arguments["policy"], arguments["signatures"])
    if not signers and arguments["require_signature"]:
        fix = "sign it as a signer that the policy lists, or ask its owner for the operator's signature"
        raise UserError("ReceiptUnsigned", f"{located.shown}: {line}; {fix}")
    if not quiet:
        echo(f"{'signed' if signers else 'unsigned'}: {line}")
    return signers


def _check_options(arguments: dict[str, Any]) -> None:
    if not arguments["require_signature"]:
        if arguments["signatures"] and arguments["policy"] is None:
            raise UserError("InvalidOption", "--signature: counts only by a policy; give --policy FILE")
        return
    if arguments["policy"] is None:
        raise UserError("InvalidOption", "--require-signature: whose signature? give --policy FILE")
    if arguments["dataset"] is None:
        line = "--dataset: is needed with --require-signature, since a receipt may name any URL"
        raise UserError("InvalidOption", f"{line}; give the URL of your own copy")


def _verify(arguments: dict[str, Any], *, quiet: bool) -> VerificationResult:
    from seedbed.replay.process_pins import pin_like_the_run
    from seedbed.replay.receipt_location import locate_receipt
    from seedbed.storage import absolute_path, absolute_url

    _check_options(arguments)
    located = locate_receipt(arguments["receipt"], run=arguments["run"], secret=arguments["output_secret"])
    signers = _check_signatures(arguments, located, quiet=quiet)
    secret, output_secret, code = (
        None if arguments[name] is None else absolute_path(arguments[name])
        for name in ("dataset_secret", "output_secret", "code")
    )
    dataset, weights = (
        None if arguments[name] is None else absolute_url(arguments[name]) for name in ("dataset", "weights")
    )
    pin_like_the_run(located)
    from seedbed.replay.verification import VerificationObserver, Window, verify
    from seedbed.replay.worker_config_from_receipt import DataSources

    sources = DataSources(
        dataset=dataset,
        dataset_secret=secret,
        code=code,
        weights=weights,
        output_secret=output_secret,
        workers=arguments["workers"],
    )
    window = Window(first=arguments["from_step"], last=arguments["to_step"])
    progress = _Progress()
    observer = VerificationObserver(began=progress.began, step=progress.step)
    if not quiet:
        observer.stored = lambda stored: _print_stored(located, stored)
    try:
        return replace(verify(located, window, sources, observer), signers=signers)
    finally:
        progress.close()


def _print_stored(located: LocatedReceipt, stored: StoredIntegrity | None) -> None:
    if stored is None:
        echo("receipt: verified; there is no run folder around it, so only the receipt is compared")
        return
    echo(f"stored: the receipt and {_listed(stored.verified)} agree")
    for what in stored.missing:
        echo(f"missing: {what}, in {located.folder.url if located.folder else located.shown}")


def _listed(items: tuple[str, ...]) -> str:
    if len(items) < 2:
        return "".join(items) or "nothing else"
    return f"{', '.join(items[:-1])} and {items[-1]}"


class _Progress:
    """Progress bar of the recomputation on stderr, if it is a terminal."""

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
