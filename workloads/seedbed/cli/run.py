"""`seedbed run`: train a job on this machine, or find that it was trained."""

from __future__ import annotations

import os
import re
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from seedbed_api.errors import UserError, refusal

if TYPE_CHECKING:
    from seedbed.runtime.driver import Ended


@click.command("run")
@click.option("-f", "--file", "manifest", required=True, help="TrainingJob manifest; - reads standard input.")
@click.option("--workers", metavar="N|MIN:MAX", help="Workers, instead of spec.cluster.workers.")
@click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True, help="Override a field; repeatable.")
@click.option("--output", metavar="URL", help="Where runs are kept, instead of spec.output.uri.")
@click.option("-o", "output_format", type=click.Choice(["json"]), help="Print the status on stdout.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--code", type=click.Path(path_type=Path, exists=True), help="Folder of the entrypoint's code.")
@click.option("--dataset-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("--output-secret", type=click.Path(path_type=Path, exists=True), help="Credential files.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the data cache of this machine.")
@click.option("--cache-bytes", type=click.IntRange(min=1), help="Bound of the data cache.")
def command(**arguments: Any) -> None:
    """Train a model from a TrainingJob manifest on this machine.

    The same command after a kill continues; after completion it returns the finished result at once.
    """
    from seedbed.environment.pins import pin_environment
    from seedbed.runtime.ray_local import prepare

    job = _job(arguments)
    pin_environment(os.environ)
    prepare(os.environ)
    ended = _run(job, arguments)
    if arguments["output_format"] == "json":
        click.echo(ended.status.model_dump_json(by_alias=True, exclude_none=True, indent=2))
    if ended.error is not None:
        click.echo(f"error: {ended.error.reason}: {ended.error.message}", err=True)
    sys.stdout.flush()
    sys.exit(ended.exit_code)


def _job(arguments: dict[str, Any]) -> Any:
    from seedbed_api.manifests import load_training_job

    overrides = list(arguments["overrides"])
    if arguments["workers"] is not None:
        least, most = _workers(arguments["workers"])
        overrides += [f"spec.cluster.workers.min={least}", f"spec.cluster.workers.max={most}"]
    if arguments["output"] is not None:
        overrides.append(f"spec.output.uri={arguments['output']}")
    source = arguments["manifest"]
    if source == "-":
        return load_training_job(sys.stdin.read() + "\n", overrides)
    return load_training_job(Path(source), overrides)


def _workers(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)(?::([0-9]+))?", text)
    if match is None:
        problem = "is neither a number nor a range"
        raise UserError("InvalidSpec", refusal("--workers", text, problem, "write for example 2, or 1:4"))
    return int(match[1]), int(match[2] or match[1])


def _run(job: Any, arguments: dict[str, Any]) -> Ended:
    from seedbed.runtime.display import Display
    from seedbed.runtime.driver import Session, run_job
    from seedbed.runtime.preparing import RunOptions

    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stopping.set())
    names = ("device", "code", "dataset_secret", "output_secret")
    options = {name: arguments[name] for name in names}
    if arguments["cache"] is not None:
        options["cache_folder"] = arguments["cache"]
    if arguments["cache_bytes"] is not None:
        options["cache_bytes"] = arguments["cache_bytes"]
    with Display(job.metadata.name) as display:
        session = Session(job=job, options=RunOptions(**options), display=display, stopping=stopping)
        ended = run_job(session)
        if ended.session.result is not None:
            display.finish(_table(ended))
    return ended


def _table(ended: Ended) -> dict[str, str]:
    status = ended.status
    assert status.model is not None
    assert status.run_id is not None
    rows = {metric.name: metric.value for metric in status.metrics}
    report = {"report": ended.session.report} if ended.session.report else {}
    return (
        rows
        | report
        | {
            "weights digest": status.model.weights_digest,
            "run": status.run_id,
            "model": status.model.uri,
        }
    )
