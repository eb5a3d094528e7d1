"""Whose objects of the output store a job believes (`spec.output.trust`), and so which folder its run has."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from seedbed.driver.error_policy import errors_name_field
from seedbed.driver.signed_runs import signature_problem
from seedbed.runs.own_folders import own_run_folder
from seedbed.runs.owner_records import Owner, read_owner
from seedbed.runs.run_folder import RunFolder, open_run
from seedbed.storage import is_writable, open_output
from seedbed.training.worker_config import STORAGE_RETRY_SECONDS
from seedbed_api.errors import UserError, refusal
from seedbed_api.execution_settings import Output, OutputTrust
from seedbed_api.trainingjob import TrainingJob

if TYPE_CHECKING:
    from seedbed.driver.resolve_run import RunOptions

logger = logging.getLogger(__name__)


def run_folder_of(job: TrainingJob, options: RunOptions, identity: str, *, to_train: bool) -> RunFolder:
    """Return the run folder, with retries in an outage; check first, without retries, that it is writable.

    A signed folder of somebody else is only read, never one `to_train` in.
    """
    uri, secret = job.spec.output.uri, options.output_secret
    owner = owner_of(job.spec.output, options)
    with errors_name_field("spec.output.uri"):
        first = open_output(uri, secret=secret)
        if not is_writable(first):
            problem, fix = "can be read, not written", "name a folder or a bucket"
            raise UserError("OutputUnwritable", refusal("spec.output.uri", first.url, problem, fix))
        open_run(first, identity).finished()
    output = open_output(uri, secret=secret, retry_seconds=STORAGE_RETRY_SECONDS)
    signed = (
        None if to_train or owner is None else _signed_folder(job, options, open_run(output, identity), owner)
    )
    return signed or own_run_folder(output, identity, owner)


def _signed_folder(
    job: TrainingJob, options: RunOptions, folder: RunFolder, owner: Owner
) -> RunFolder | None:
    """Return the folder of a finished run of somebody else, where a signature lets it be reused."""
    if trust_of(job.spec.output, options) != "Signed" or not folder.finished():
        return None
    if owner.holds(folder.objects, folder.run_id):
        return None
    problem = signature_problem(folder, options.signature_policy)
    if problem is not None:
        logger.warning("%s counts as unsigned: %s", folder.url, problem)
    return None if problem else folder


def trust_of(output: Output, options: RunOptions) -> OutputTrust:
    """Return which stored objects are reused."""
    return output.trust or options.default_trust


def owner_of(output: Output, options: RunOptions) -> Owner | None:
    """Return the owner whose objects alone are believed; None where spec.output.trust is Store."""
    trust = trust_of(output, options)
    if trust == "Store":
        return None
    if options.owner_key is None:
        fix = "run it with `seedbed run` or in a cluster, or set Store"
        raise UserError(
            "OwnerKeyUnreadable", refusal("spec.output.trust", trust, "needs an owner's key", fix)
        )
    return read_owner(options.owner_key)
