"""The program of a pod that stores the operator's signature beside the receipt of its job.

It signs nothing and runs no code of a user. Whether a signature counts, its readers decide by their policies.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from seedbed.pods.termination_message import termination_log
from seedbed.receipts.signature_store import add_envelope
from seedbed.replay.receipt_of_job import ReceiptSettings, locate_receipt_of_job, log
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.pod_environment import SignatureUploaderEnvironment
from seedbed_api.pod_contract.signature_messages import SignatureUploadOutcome


class SignatureUploaderSettings(ReceiptSettings, SignatureUploaderEnvironment):
    """The settings of a pod that stores a signature."""


def run_signature_uploader_pod(environ: Mapping[str, str]) -> int:
    """Store the signature and write the message; return the exit code; what a retry may fix has none."""
    os.environ.setdefault(env_vars.CLAIMS_FOLDER, paths.CLAIMS)
    settings = SignatureUploaderSettings.from_env(environ)
    try:
        where = _store(settings)
    except UserError as error:
        code, result, message = ExitCode.USER, "Refused", f"{error.reason}: {error.message}"
    except SeedbedError as error:
        log(f"error: {error.reason}: {error.message}")
        return error.exit_code
    else:
        code, result, message = ExitCode.DONE, "Stored", where
    log(f"{result}: {message}")
    outcome = SignatureUploadOutcome.model_validate(
        {"result": result, "message": one_line(message), "receiptDigest": settings.receipt_digest}
    )
    termination_log(environ).write_bytes(outcome.encode())
    return code


def _store(settings: SignatureUploaderSettings) -> str:
    """Return where the signature is."""
    located = locate_receipt_of_job(settings)
    assert located.place is not None, "a run below an output has a folder"
    path = add_envelope(located.place, located.receipt, settings.signature.encode())
    return f"{located.place.url}/{path}"
