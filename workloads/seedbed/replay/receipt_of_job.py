"""The receipt of a complete job, for the pods that verify it or store its signature.

It is below the output that the spec of the job names, and it has the digest that the job's driver reported.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field, field_validator

from seedbed.driver.job_locations import with_absolute_locations
from seedbed.replay.receipt_location import LocatedReceipt, locate_run
from seedbed.runs.owner_records import read_owner
from seedbed.storage import absolute_path
from seedbed_api.canonical_json import digest_of
from seedbed_api.errors import UserError
from seedbed_api.job_kinds import Job
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.pod_environment import ReceiptEnvironment


class ReceiptSettings(ReceiptEnvironment):
    """The settings of a pod about a receipt."""

    secrets_folder: str = Field(default=paths.SECRETS, alias=env_vars.SECRETS_FOLDER)

    @field_validator("job", mode="after")
    @classmethod
    def _absolute(cls, job: Job) -> Job:
        return with_absolute_locations(job)

    def secret(self, name: str) -> Path | None:
        """Return the folder of a mounted Secret, None where the job names none."""
        folder = absolute_path(Path(self.secrets_folder)) / name
        return folder if folder.is_dir() else None


def locate_receipt_of_job(settings: ReceiptSettings) -> LocatedReceipt:
    """Return the receipt of the job, in the store or in the place that its namespace has in it.

    Raises UserError ReceiptTampered for one that is not what the driver reported.
    """
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


def log(line: str) -> None:
    """Write a line to the log of the pod."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - the log of the pod


def _folders(settings: ReceiptSettings) -> tuple[str, ...]:
    """Return the folders of the output below which the run may be: where somebody else held its own first."""
    key = settings.secret(paths.OWNER_SECRET)
    return ("",) if key is None else (read_owner(key / env_vars.TOKEN_KEY).place, "")


def _require_receipt_of_the_job(settings: ReceiptSettings, located: LocatedReceipt) -> None:
    found = digest_of(located.receipt.data)
    if found != settings.receipt_digest:
        problem = f"has digest {found}, the driver reported {settings.receipt_digest}"
        raise UserError("ReceiptTampered", f"{located.shown}: {problem}; restore the receipt of this job")
    run, expected = located.receipt.decided.run_id, settings.expected_run_id
    if run != expected:
        raise UserError("ReceiptTampered", f"{located.shown}: is of run {run}, the job is run {expected}")
