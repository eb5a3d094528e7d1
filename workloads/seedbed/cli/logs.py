"""`seedbed logs`: what a run has said, from its output store; its pods may be gone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedbed.cli.options import store_secret

if TYPE_CHECKING:
    from seedbed.runs.logs import PodLog
    from seedbed.storage import Storage

_FOLLOW_SECONDS = 2.0


@click.command("logs")
@click.argument("store")
@click.argument("run", required=False)
@click.option("--attempt", type=click.IntRange(min=1), help="Of this attempt only.")
@click.option("--pod", help="Of this pod only, for example digits-1-driver.")
@click.option("-F", "--follow", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@store_secret
def command(
    store: str,
    run: str | None,
    attempt: int | None,
    pod: str | None,
    secret: Path | None,
    output: str,
    *,
    follow: bool,
) -> None:
    """Print what a RUN said, in pods or on one machine, of all attempts, in the order of time.

    STORE is what spec.output.uri names. RUN is the identity of a run or sweep (its first digits), the uid of
    a job's object, or the name of a job; without it, the jobs are named whose logs there are.
    """
    from seedbed.runs.logs import logs_of
    from seedbed.runtime.lasting import naming
    from seedbed.storage import open_storage

    with naming("STORE"):
        storage = open_storage(store, secret=secret)
        logs = logs_of(storage)
    if run is None:
        _list(logs)
        return
    known = _wanted(storage, logs, run, attempt=attempt, pod=pod)
    _print(storage, known, output=output, last=not follow)
    while follow:
        time.sleep(_FOLLOW_SECONDS)
        known = _grown(known, _wanted(storage, logs_of(storage), run, attempt=attempt, pod=pod))
        _print(storage, known, output=output, last=False)


def _list(logs: list[PodLog]) -> None:
    for uid in dict.fromkeys(log.uid for log in logs):
        mine = [log for log in logs if log.uid == uid]
        attempts = sorted({log.attempt for log in mine})
        click.echo(f"{mine[0].job}  {uid}  attempts {attempts[0]} to {attempts[-1]}  {len(mine)} logs")
    if not logs:
        click.echo("no logs here; jobs and sweeps leave them while they train", err=True)


def _wanted(
    storage: Storage, logs: list[PodLog], run: str, *, attempt: int | None, pod: str | None
) -> list[PodLog]:
    from seedbed.runs.logs import chosen
    from seedbed_api.errors import UserError, refusal

    found = chosen(storage, logs, run, attempt=attempt)
    if pod is None:
        return found
    if not (kept := [log for log in found if log.pod == pod]):
        there = ", ".join(log.pod for log in found)
        raise UserError("InvalidOption", refusal("--pod", pod, "has no log here", f"choose one of {there}"))
    return kept


def _grown(known: list[PodLog], seen: list[PodLog]) -> list[PodLog]:
    """Return the logs as they are now, each read as far as before."""
    before = {(log.uid, log.attempt, log.pod): log for log in known}
    for log in seen:
        before.setdefault((log.uid, log.attempt, log.pod), log).pieces = log.pieces
    return list(before.values())


def _print(storage: Storage, logs: list[PodLog], *, output: str, last: bool) -> None:
    from seedbed.runs.logs import in_order
    from seedbed_api.loglines import readable

    width = max(len(log.pod) for log in logs)
    for log, line in in_order(storage, logs, last=last):
        click.echo(line if output == "json" else f"{log.pod:<{width}}  {readable(line)}")
