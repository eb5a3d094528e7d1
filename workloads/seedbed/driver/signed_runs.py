"""Whether somebody else's finished run may be reused because an accepted signer vouches for its receipt."""

from __future__ import annotations

from datetime import UTC, datetime

from seedbed.runs.run_folder import RECEIPT, RunFolder
from seedbed.storage import object_limits
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.errors import UserError


def signature_problem(folder: RunFolder, policy: SignaturePolicy | None) -> str | None:
    """Return why a finished run does not count as signed, in one line; None where it does."""
    if policy is None:
        return (
            "there is no policy of accepted signers (seedbed run has --signature-policy FILE, "
            "a TrainingProfile spec.signaturePolicy)"
        )
    # imports cryptography, which a job without signatures does not need
    from seedbed.receipts.identity_signatures import trusted_identities
    from seedbed.receipts.signature_store import stored_envelopes
    from seedbed.receipts.signatures import Unsigned, signature_status

    try:
        receipt = folder.objects.read(RECEIPT, object_limits.RECEIPT)
        envelopes = stored_envelopes(folder.objects, policy)
        identities, now = trusted_identities(policy), datetime.now(UTC)
        status = signature_status(receipt, envelopes, policy, now=now, identities=identities)
    except FileNotFoundError:
        return f"{RECEIPT} is missing"
    except UserError as error:
        return error.message
    return status.reason if isinstance(status, Unsigned) else None
