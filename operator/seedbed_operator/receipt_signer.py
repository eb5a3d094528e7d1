"""Sign what planning states about a receipt with the operator's key, which a Secret brings as a file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Literal, TypeAlias

from seedbed_api.attestations.dsse_envelope import sign_payload
from seedbed_api.attestations.receipt_attestation import Attestation
from seedbed_api.attestations.signing_keys import MOST_KEY_BYTES, SigningKey, load_signing_key
from seedbed_api.conditions import (
    Condition,
    ConditionType,
    SignatureStoredReason,
    SignedReason,
    one_line,
    with_condition,
)
from seedbed_api.errors import UserError, refusal
from seedbed_api.sweepjob_status import SweepJobStatus
from seedbed_api.timestamps import format_time
from seedbed_api.trainingjob_status import LONGEST_SIGNATURE, LifecycleStatus, TrainingJobStatus
from seedbed_operator.job_observation import JobObservation
from seedbed_operator.plan import SigningRequest

NO_KEY = "the operator has no signing key; set the chart's value signing.existingSecret"

ConditionStatus: TypeAlias = Literal["True", "False", "Unknown"]

log = logging.getLogger(__name__)


class ReceiptSigner:
    """Signs receipts; without a key it only says that they are not signed."""

    def __init__(self, key_file: Path | None, *, stores: bool = True) -> None:
        """Load the key; `stores` says whether a pod stores each signature. Raises UserError InvalidKey."""
        self._file, self._stores = key_file, stores
        self._key = None if key_file is None else read_key(key_file)
        if self._key is not None:
            log.info("receipts are signed by key %s", self._key.public.key_id)

    def sign(
        self, observation: JobObservation, request: SigningRequest, status: LifecycleStatus
    ) -> LifecycleStatus:
        """Return the status with the signature, or with the reason why there is none."""
        if request.attestation is None:
            return _with_signed(observation, status, request.reason, request.message)
        key = self._present_key()
        if key is None:
            return _with_signed(observation, status, SignedReason.NO_SIGNING_KEY, NO_KEY)
        signed = _with_signature(status, _envelope(request.attestation, key))
        signed = _with_signed(observation, signed, SignedReason.SIGNED, f"by key {key.public.key_id}")
        return _to_be_stored(observation, signed) if self._stores else signed

    def _present_key(self) -> SigningKey | None:
        """Return the key in the file, which a change of the Secret replaces; the last good one meanwhile."""
        if self._file is None:
            return None
        try:
            self._key = read_key(self._file)
        except UserError as error:
            log.warning("the signing key was not read again: %s", error.message)
        return self._key


def read_key(file: Path) -> SigningKey:
    """Return the private key in a file. Raises UserError InvalidKey."""
    try:
        with file.open("rb") as opened:
            return load_signing_key(opened.read(MOST_KEY_BYTES + 1), shown=f"--signing-key {file}")
    except OSError as error:
        problem = f"cannot be read ({error.strerror})"
        fix = "name a file that holds a private key in PEM"
        raise UserError("InvalidKey", refusal("--signing-key", str(file), problem, fix)) from error


def _envelope(attestation: Attestation, key: SigningKey) -> str:
    envelope = sign_payload(attestation.payload, key).decode()
    assert len(envelope) <= LONGEST_SIGNATURE, "at most eight images of at most 512 characters"
    return envelope


def _with_signature(status: LifecycleStatus, envelope: str) -> LifecycleStatus:
    match status:
        case TrainingJobStatus() if status.receipt is not None:
            receipt = status.receipt.model_copy(update={"signature": envelope})
            return status.model_copy(update={"receipt": receipt})
        case SweepJobStatus() if status.ledger is not None:
            ledger = status.ledger.model_copy(update={"signature": envelope})
            return status.model_copy(update={"ledger": ledger})
    raise AssertionError(f"{type(status)} without what its driver reported")


def _with_signed(
    observation: JobObservation, status: LifecycleStatus, reason: SignedReason, message: str
) -> LifecycleStatus:
    state: ConditionStatus = "True" if reason is SignedReason.SIGNED else "False"
    return _with(observation, status, ConditionType.SIGNED, state, reason, message)


def _to_be_stored(observation: JobObservation, status: LifecycleStatus) -> LifecycleStatus:
    """Ask for a pod that stores the signature; nothing reads one of a sweep's record in a store."""
    if not isinstance(status, TrainingJobStatus):
        return status
    kind, reason = ConditionType.SIGNATURE_STORED, SignatureStoredReason.STORING
    return _with(observation, status, kind, "Unknown", reason, "once the pods of the job are gone")


def _with(
    observation: JobObservation,
    status: LifecycleStatus,
    kind: ConditionType,
    state: ConditionStatus,
    reason: str,
    message: str,
) -> LifecycleStatus:
    condition = Condition(
        type=kind,
        status=state,
        reason=str(reason),
        message=one_line(message),
        last_transition_time=format_time(observation.now),
        observed_generation=observation.job.generation,
    )
    return status.model_copy(update={"conditions": with_condition(status.conditions, condition)})
