"""The program of a verifier pod: recompute the run of a receipt and write the result as termination message.

Receipt, dataset, code and weights are at the places that the spec of the job names; no other place is read.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from seedbed.pods.termination_message import termination_log
from seedbed.replay.process_pins import pin_like_the_run
from seedbed.replay.receipt_of_job import ReceiptSettings, locate_receipt_of_job, log
from seedbed_api.conditions import ExitCode, one_line
from seedbed_api.errors import SeedbedError, UserError
from seedbed_api.pod_contract import env_vars, paths
from seedbed_api.pod_contract.pod_environment import VerifierEnvironment
from seedbed_api.pod_contract.verifier_messages import VerificationOutcome
from seedbed_api.trainingjob import TrainingJob

_RESULTS = {"reproduced": "Reproduced", "differs": "Differs", "unverified": "Unverified"}


class VerifierSettings(ReceiptSettings, VerifierEnvironment):
    """The settings of a verifier pod."""


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
        log(f"error: {error.reason}: {error.message}")
        return error.exit_code
    log(f"{outcome.result}: {outcome.message}")
    termination_log(environ).write_bytes(outcome.encode())
    return ExitCode.DONE if outcome.result == "Reproduced" else ExitCode.USER


def _verified(settings: VerifierSettings) -> VerificationOutcome:
    located = locate_receipt_of_job(settings)
    pin_like_the_run(located)
    from seedbed.replay.verification import VerificationObserver, Window, verify
    from seedbed.replay.worker_config_from_receipt import DataSources

    job = settings.job
    assert isinstance(job, TrainingJob), "a sweep is verified run by run"
    code, weights = job.spec.model.code, job.spec.model.weights
    sources = DataSources(
        dataset=job.spec.dataset.uri,
        dataset_secret=settings.secret(paths.DATASET_SECRET),
        code_uri=None if code is None else code.uri,
        weights=None if weights is None else weights.uri,
        output_secret=settings.secret(paths.OUTPUT_SECRET),
    )
    result = verify(located, Window(), sources, VerificationObserver())
    return VerificationOutcome.model_validate(
        {
            "result": _RESULTS[result.result],
            "message": one_line(result.sentence),
            "receiptDigest": settings.receipt_digest,
        }
    )
