"""The program of a verifier pod: recompute the run of a receipt and write the result as termination message.

Receipt, dataset and code are at the places that the spec of the job names; no other place is read.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from seedbed.driver.job_locations import with_absolute_locations
from seedbed.pods.termination_message import termination_log
from seedbed.replay.process_pins import pin_like_the_run
from seedbed.replay.receipt_location import LocatedReceipt, locate_run
from seedbed.runs.owner_records import read_owner
from seedbed.storage import absolute_path
from seedbed_api.canonical_json import digest_of
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.job_kinds import Job
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.pod_environment import VerifierEnvironment
from seedbed_api.pod_contract.verifier_messages import VerificationOutcome
from seedbed_api.trainingjob import TrainingJob

_RESULTS = {"reproduced": "Reproduced", "differs": "Differs", "unverified": "Unverified"}


class VerifierSettings(VerifierEnvironment):
    """The settings of a verifier pod."""

    secrets_folder: str = Field(default=paths.SECRETS, alias=env_vars.SECRETS_FOLDER)

    @field_validator("job", mode="after")
    @classmethod
    def _absolute(cls, job: Job) -> Job:
        return with_absolute_locations(job)

    def secret(self, name: str) -> Path | None:
        """Return the folder of a mounted Secret, None where the job names none."""
        folder = absolute_path(Path(self.secrets_folder)) / name
        return folder if folder.is_dir() else None


def run_verifier_pod(environ: Mapping[str, str]) -> int:
    """Verify and write the message; return the exit code. What a retry may fix has no message."""
    os.environ.setdefault(env_vars.CLAIMS_FOLDER, paths.CLAIMS)
    settings = VerifierSettings.from_env(environ)
    try:
        outcome = _verified(settings)
    except UserError as error:
        message = one_line(f"{error.reason}: {error.message}")
        outcome = VerificationOutcome(
            result="Refused", message=message, receipt_digest=settings.receipt_digest
        )
    except SeedbedError as error:
        _log(f"error: {error.reason}: {error.message}")
        return error.exit_code
    _log(f"{outcome.result}: {outcome.message}")
    termination_log(environ).write_bytes(outcome.encode())
    return ExitCode.DONE if outcome.result == "Reproduced" else ExitCode.USER


def _verified(settings: VerifierSettings) -> VerificationOutcome:
    located = _located(settings)
    pin_like_the_run(located)
    from seedbed.replay.verification import VerificationObserver, Window, verify
    from seedbed.replay.worker_config_from_receipt import DataSources

    job = settings.job
    assert isinstance(job, TrainingJob), "a sweep is verified run by run"
    code = job.spec.model.code
    sources = DataSources(
        dataset=job.spec.dataset.uri,
        dataset_secret=settings.secret(paths.DATASET_SECRET),
        code_uri=None if code is None else code.uri,
    )
    result = verify(located, Window(), sources, VerificationObserver())
    return VerificationOutcome.model_validate(
        {
            "result": _RESULTS[result.result],
            "message": one_line(result.sentence),
            "receiptDigest": settings.receipt_digest,
        }
    )


def _located(settings: VerifierSettings) -> LocatedReceipt:
    """Return the receipt of the job, in the store or in the place that its namespace has in it."""
    output, secret = settings.job.spec.output.uri, settings.secret(paths.OUTPUT_SECRET)
    problems: list[UserError] = []
    for below in _folders(settings):
        try:
            located = locate_run(output, settings.expected_run_id, secret=secret, below=below)
            _require_receipt_of_the_job(settings, located)
        except UserError as error:
            problems.append(error)
        else:
            return located
    raise next((error for error in problems if error.reason == "ReceiptTampered"), problems[-1])


def _folders(settings: VerifierSettings) -> tuple[str, ...]:
    """Return the folders of the output below which the run may be: where somebody else held its own first."""
    key = settings.secret(paths.OWNER_SECRET)
    return ("",) if key is None else (read_owner(key / env_vars.TOKEN_KEY).place, "")


def _require_receipt_of_the_job(settings: VerifierSettings, located: LocatedReceipt) -> None:
    found = digest_of(located.receipt.data)
    if found != settings.receipt_digest:
        problem = f"has digest {found}, the driver reported {settings.receipt_digest}"
        raise UserError("ReceiptTampered", f"{located.shown}: {problem}; restore the receipt of this job")
    run, expected = located.receipt.decided.run_id, settings.expected_run_id
    if run != expected:
        raise UserError("ReceiptTampered", f"{located.shown}: is of run {run}, the job is run {expected}")


def _log(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod
