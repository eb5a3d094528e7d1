"""`seedbed logs`: print the log of a run from its output store, also after its pods are deleted."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from seedbed.cli.shared_options import store_secret
from seedbed.cli.standard_streams import echo, echo_json
from seedbed_api.printable_text import on_one_line

if TYPE_CHECKING:
    from seedbed.runs.log_store import LogSelection, PodLog
    from seedbed.runs.log_tail import LogTail
    from seedbed.storage import Storage

_FOLLOW_SECONDS = 2.0


@click.command("logs")
@click.argument("store")
@click.argument("run", required=False)
@click.option("--attempt", type=click.IntRange(min=1), help="Print this attempt only.")
@click.option("--pod", help="Print this pod only, for example digits-1-driver.")
@click.option("-F", "--follow", is_flag=True, help="Print new lines as they arrive, until Ctrl-C.")
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
    """Print the log of all attempts of RUN, in pods or on one machine, ordered by time.

    STORE is the URL in spec.output.uri. RUN is the identity of a run or sweep (its first digits), the uid of
    a job, or the name of a job: of several, the newest. Without RUN, print the jobs that have logs.
    """
    from seedbed.driver.error_policy import errors_name_field
    from seedbed.runs.log_store import list_logs, read_in_order
    from seedbed.runs.log_tail import LogTail
    from seedbed.storage import open_output

    with errors_name_field("STORE"):
        storage = open_output(store, secret=secret)
        logs = list_logs(storage)
    if run is None:
        _list(logs)
        return
    selected = _wanted(storage, logs, run, attempt=attempt, pod=pod)
    _print(read_in_order(storage, selected, last=not follow), output=output, width=_width(selected))
    if follow:
        _follow(LogTail(output=storage, logs=selected, attempt=attempt, pod=pod), output=output)


def _list(logs: list[PodLog]) -> None:
    for uid in dict.fromkeys(log.uid for log in logs):
        mine = [log for log in logs if log.uid == uid]
        first, last = mine[0].attempt, mine[-1].attempt
        attempts = f"attempt {first}" if first == last else f"attempts {first} to {last}"
        count = f"{len(mine)} {'log' if len(mine) == 1 else 'logs'}"
        echo(on_one_line(f"{mine[0].job}  {uid}  {attempts}  {count}"))
    if not logs:
        echo("no logs here; jobs and sweeps leave them while they train", err=True)


def _wanted(
    storage: Storage, logs: list[PodLog], run: str, *, attempt: int | None, pod: str | None
) -> list[PodLog]:
    from seedbed.runs.log_store import select_logs
    from seedbed_api.errors import UserError, refusal

    found = select_logs(storage, logs, run, attempt=attempt)
    _list_other_runs(run, found)
    if pod is None:
        return found.logs
    if not (of_pod := [log for log in found.logs if log.pod == pod]):
        pods = ", ".join(log.pod for log in found.logs)
        raise UserError("InvalidOption", refusal("--pod", pod, "has no log here", f"choose one of {pods}"))
    return of_pod


def _list_other_runs(run: str, found: LogSelection) -> None:
    if found.others:
        newest = f"{run}: the newest of {len(found.others) + 1} jobs of this name"
        echo(f"{newest}; for an older one give its uid instead: {', '.join(found.others)}", err=True)


def _follow(tail: LogTail, *, output: str) -> None:
    """Print new lines until Ctrl-C; an unreachable store is reported once and polled again."""
    reported = False
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(_FOLLOW_SECONDS)
            _print(tail.read_new(), output=output, width=_width(tail.logs))
            if tail.error is not None and not reported:
                echo(f"{tail.error.message}; retrying", err=True)
            reported = tail.error is not None


def _print(lines: Iterable[tuple[PodLog, str]], *, output: str, width: int) -> None:
    from seedbed_api.json_log_lines import format_log_line

    for log, line in lines:
        if output == "json":
            echo_json(line)
        else:
            echo(f"{log.pod:<{width}}  {format_log_line(line)}")


def _width(logs: list[PodLog]) -> int:
    return max(len(log.pod) for log in logs)
