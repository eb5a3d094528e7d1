"""`seedbed run`: train a job or a sweep on this machine, or return its stored result."""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from seedbed.cli.standard_streams import echo, reserve_stdout
from seedbed_api.conditions import ExitCode
from seedbed_api.errors import SeedbedError, UserError, refusal

if TYPE_CHECKING:
    from seedbed.driver.resolve_run import RunOptions
    from seedbed.driver.run_driver import DriverExit
    from seedbed.sweeps.sweep_driver import SweepDriverExit
    from seedbed_api.sweepjob import SweepJob
    from seedbed_api.sweepjob_status import SweepJobStatus
    from seedbed_api.trainingjob import TrainingJob
    from seedbed_api.trainingjob_status import TrainingJobStatus

_policy = click.Path(path_type=Path, exists=True, dir_okay=False)
_secret = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("run")
@click.option("-f", "--file", "manifest", required=True, help="TrainingJob or SweepJob; - is standard input.")
@click.option("--workers", metavar="N|MIN:MAX", help="Workers, instead of spec.cluster.workers.")
@click.option("--set", "overrides", metavar="PATH=VALUE", multiple=True, help="Override a field; repeatable.")
@click.option("--dataset", metavar="URL", help="URL of the dataset, instead of spec.dataset.uri.")
@click.option("--output", metavar="URL", help="URL of the output store, instead of spec.output.uri.")
@click.option("-o", "output_format", type=click.Choice(["json"]), help="Print the status on stdout.")
@click.option("--device", type=click.Choice(["cpu", "cuda"]), default="cpu", show_default=True)
@click.option("--code", type=click.Path(path_type=Path, exists=True), help="Folder of the entrypoint's code.")
@click.option("--dataset-secret", type=_secret, help="Folder of credential files.")
@click.option("--output-secret", type=_secret, help="Folder of credential files.")
@click.option("--signature-policy", type=_policy, metavar="FILE", help="Signers whose runs are reused.")
@click.option("--cache", type=click.Path(path_type=Path), help="Folder of the data cache of this machine.")
@click.option("--cache-bytes", type=click.IntRange(min=1), help="Bound of the data cache.")
def command(**arguments: Any) -> None:
    """Train a model from a TrainingJob manifest, or the trials of a SweepJob, on this machine.

    Run the same command again after a kill to continue; the result of a complete run is returned at once.
    """
    with reserve_stdout() as output:
        ended = _run_manifest(arguments, output)
        if arguments["output_format"] == "json":
            _print_status(ended.status, output)
    if ended.error is not None:
        raise ended.error
    if ended.exit_code == ExitCode.STOPPED:
        echo(_stopped(ended), err=True)
    sys.exit(ended.exit_code)


def _run_manifest(arguments: dict[str, Any], output: TextIO) -> DriverExit | SweepDriverExit:
    """Run the job or sweep of a manifest; with -o json, an error is also reported in a status."""
    kind = "TrainingJob"
    try:
        document, place = _document(arguments)
        kind = str(document.get("kind"))
        options = _options(arguments)
        if kind == "SweepJob":
            sweep = _sweep(document, place, arguments)
            return _run_sweep(sweep, _with_owner(options, sweep))
        job = _job(document, place, arguments)
        return _run(job, _with_owner(options, job))
    except SeedbedError as error:
        if arguments["output_format"] == "json":
            _print_status(_refused(kind, error), output)
        raise


def _refused(kind: str, error: SeedbedError) -> TrainingJobStatus | SweepJobStatus:
    from seedbed.driver import trainingjob_status_builder as of_jobs
    from seedbed.sweeps import sweepjob_status_builder as of_sweeps

    return of_sweeps.rejected_status(error) if kind == "SweepJob" else of_jobs.refused_status(error)


def _print_status(status: TrainingJobStatus | SweepJobStatus, output: TextIO) -> None:
    """Write a status in ASCII, which every encoding of a terminal or pipe supports."""
    document = status.model_dump(mode="json", by_alias=True, exclude_none=True)
    output.write(json.dumps(document, indent=2) + "\n")
    output.flush()


def _stopped(ended: DriverExit | SweepDriverExit) -> str:
    from seedbed_api.trainingjob_status import TrainingJobStatus

    if not isinstance(ended.status, TrainingJobStatus):
        return "stopped; every running trial has saved its state; the same command continues"
    progress = ended.status.progress
    where = f" after step {progress.step} of {progress.total_steps}" if progress else " before the first step"
    return f"stopped{where}; the same command continues"


def _document(arguments: dict[str, Any]) -> tuple[dict[str, Any], str]:
    from seedbed_api.manifest_loader import read_document
    from seedbed_api.yaml_documents import text_of

    source = arguments["manifest"]
    wanted = "TrainingJob or SweepJob"
    if source == "-":
        return read_document(text_of(sys.stdin, "stdin") + "\n", wanted=wanted)
    return read_document(Path(source), wanted=wanted)


def _job(document: dict[str, Any], place: str, arguments: dict[str, Any]) -> TrainingJob:
    from seedbed.driver.job_locations import with_absolute_locations
    from seedbed_api.manifest_loader import training_job
    from seedbed_api.overrides import apply_overrides

    overrides = list(arguments["overrides"])
    if arguments["workers"] is not None:
        least, most = _workers(arguments["workers"])
        overrides += [f"spec.cluster.workers.min={least}", f"spec.cluster.workers.max={most}"]
    overrides += _places(arguments, dataset="spec.dataset.uri")
    return with_absolute_locations(training_job(apply_overrides(document, overrides), place))


def _sweep(document: dict[str, Any], place: str, arguments: dict[str, Any]) -> SweepJob:
    from seedbed.driver.job_locations import with_absolute_locations
    from seedbed_api.manifest_loader import sweep_job
    from seedbed_api.overrides import apply_overrides
    from seedbed_api.sweepjob import SweepJob

    if arguments["workers"] is not None:
        problem = "a sweep has trials instead"
        fix = "write --set spec.parallelTrialCount=N, or --set spec.workersPerTrial=N"
        raise UserError("InvalidSpec", refusal("--workers", arguments["workers"], problem, fix))
    places = _places(arguments, dataset="spec.trialTemplate.spec.dataset.uri")
    overridden = apply_overrides(document, [*arguments["overrides"], *places], SweepJob)
    return with_absolute_locations(sweep_job(overridden, place))


def _places(arguments: dict[str, Any], *, dataset: str) -> list[str]:
    places = ((dataset, arguments["dataset"]), ("spec.output.uri", arguments["output"]))
    return [f"{field}={uri}" for field, uri in places if uri is not None]


def _workers(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]{1,6})(?::([0-9]{1,6}))?", text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        problem = "is neither a number from 1 on nor a range MIN:MAX"
        raise UserError("InvalidSpec", refusal("--workers", text, problem, "write for example 2, or 1:4"))
    return least, most


def _prepare_process() -> None:
    """Set the variables that torch and Ray read when they are imported."""
    from seedbed.driver.job_locations import leave_deleted_working_directory, set_absolute_variables
    from seedbed.environment.environment_pins import pin_environment
    from seedbed.ray_cluster.local_ray import prepare_environment

    set_absolute_variables(os.environ)
    leave_deleted_working_directory()
    pin_environment(os.environ)
    prepare_environment(os.environ)


def _run_sweep(sweep: SweepJob, options: RunOptions) -> SweepDriverExit:
    _prepare_process()
    from seedbed.ray_cluster.stop_signals import stop_by_signal
    from seedbed.sweeps.sweep_display import SweepDisplay
    from seedbed.sweeps.sweep_driver import SweepRequest, run_sweep

    with SweepDisplay(sweep.metadata.name) as display:
        stopping = stop_by_signal(end_at_second_interrupt=True)
        request = SweepRequest(job=sweep, options=options, display=display, stopping=stopping)
        ended = run_sweep(request)
        if ended.error is None and ended.state.finished is not None:
            display.finish(_sweep_table(ended))
    return ended


def _sweep_table(ended: SweepDriverExit) -> dict[str, str]:
    best, record = ended.status.best_trial, ended.status.ledger
    assert best is not None
    assert best.model is not None
    assert record is not None
    report = {"report": ended.state.report_url} if ended.state.report_url else {}
    return report | {
        "best trial": str(best.index),
        "weights digest": best.model.weights_digest,
        "model": best.model.uri,
        "sweep record": record.uri,
        "record digest": record.digest,
    }


def _run(job: TrainingJob, options: RunOptions) -> DriverExit:
    _prepare_process()
    from seedbed.driver.driver_state import RunRequest
    from seedbed.driver.progress_display import ProgressDisplay
    from seedbed.driver.run_driver import run_job
    from seedbed.ray_cluster.stop_signals import stop_by_signal

    with ProgressDisplay(job.metadata.name) as display:
        stopping = stop_by_signal(end_at_second_interrupt=True)
        request = RunRequest(job=job, options=options, display=display, stopping=stopping)
        ended = run_job(request)
        if ended.state.result is not None:
            display.finish(_table(ended))
    return ended


def _options(arguments: dict[str, Any]) -> RunOptions:
    from seedbed.driver.error_policy import errors_name_field
    from seedbed.driver.resolve_run import RunOptions
    from seedbed.storage import absolute_path

    options: dict[str, Any] = {"device": arguments["device"], "keep_log": True, "default_trust": "Own"}
    for name in ("code", "dataset_secret", "output_secret", "cache"):
        if arguments[name] is not None:
            with errors_name_field(f"--{name.replace('_', '-')}"):
                options[name] = absolute_path(arguments[name])
    if arguments["signature_policy"] is not None:
        from seedbed.receipts.signature_store import read_policy

        options["signature_policy"] = read_policy(arguments["signature_policy"])
    if "cache" in options:
        options["cache_folder"] = _writable(options.pop("cache"))
    if arguments["cache_bytes"] is not None:
        options["cache_bytes"] = arguments["cache_bytes"]
    return RunOptions(**options)


def _with_owner(options: RunOptions, job: TrainingJob | SweepJob) -> RunOptions:
    """Return the options with the key of this user, unless the job believes whatever is in the store."""
    from dataclasses import replace

    from seedbed.runs.owner_records import user_key

    if (job.spec.output.trust or options.default_trust) == "Store":
        return options
    return replace(options, owner_key=user_key(os.environ))


def _writable(cache: Path) -> Path:
    """Return this user's cache folder. UserError if it cannot be written: the run would be slower without."""
    from seedbed.feed.private_folder import private_folder

    try:
        own = private_folder(cache)
        with tempfile.TemporaryFile(dir=own):
            return own
    except OSError as error:
        problem = (error.strerror or str(error)).lower()
        fix = "name a folder that can be written, or leave --cache away"
        raise UserError("InvalidOption", refusal("--cache", str(cache), problem, fix)) from error


def _table(ended: DriverExit) -> dict[str, str]:
    status = ended.status
    assert status.model is not None
    assert status.run_id is not None
    rows = {metric.name: metric.value for metric in status.metrics}
    report = {"report": ended.report} if ended.report else {}
    return (
        rows
        | report
        | {
            "weights digest": status.model.weights_digest,
            "run": status.run_id,
            "model": status.model.uri,
        }
    )
