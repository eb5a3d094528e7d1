"""In-toto Statements about a receipt: of the operator that started the job, and of a user's own key.

Their predicate types differ, so a key that is accepted for one says nothing with the other.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from seedbed_api.accepted_signers import SignerRole
from seedbed_api.attestations.dsse_envelope import EnvelopeError, strict_json
from seedbed_api.base_model import StatusBlock
from seedbed_api.canonical_json import canonical_json
from seedbed_api.scalar_types import Count, Digest, Label, ResourceName, Time, text
from seedbed_api.validation_errors import first_problem

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPES: dict[SignerRole, str] = {
    "Operator": "https://seedbed.dev/attestations/cluster-run/v1",
    "User": "https://seedbed.dev/attestations/self-signed/v1",
}
RECEIPT_NAME = "receipt.json"
SWEEP_RECORD_NAME = "ledger.json"
MOST_IMAGES = 8

Hex = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
ImageText = Annotated[str, text(512)]


class SignedJob(StatusBlock):
    """The object whose pods made a receipt, as the operator knows it."""

    kind: Literal["TrainingJob", "SweepJob"]
    namespace: Label
    name: ResourceName
    uid: Annotated[str, text(64)]


class ClusterRun(StatusBlock):
    """What the operator states: it started this job with these images, whose driver reported the receipt."""

    run_id: Digest
    """Identity that the driver reported, in each attempt the same."""
    job: SignedJob
    attempt: Count
    """Attempt that reported the receipt."""
    images: Annotated[tuple[ImageText, ...], Field(min_length=1, max_length=MOST_IMAGES)]
    """Images of the attempt's pods as the kubelets report them, else the pinned one."""
    pinned_image: ImageText
    """Image that the operator wrote into the pods."""
    dataset_digest: Digest | None = None
    """Digest that the manifest or the first attempt pinned."""
    signed_on: Time


class SelfSigned(StatusBlock):
    """What a user states: this receipt and these model files are mine."""

    run_id: Digest
    signed_on: Time


class DigestSet(StatusBlock):
    """Digests of a subject."""

    sha256: Hex


class Subject(StatusBlock):
    """An object that the Statement is about."""

    name: Annotated[str, text(1024)]
    digest: DigestSet


class Attestation(StatusBlock):
    """A Statement about a receipt."""

    role: SignerRole
    subjects: Annotated[tuple[Subject, ...], Field(min_length=1, max_length=64)]
    predicate: ClusterRun | SelfSigned

    @property
    def receipt_digest(self) -> str:
        """Return `sha256:<hex>` of the receipt, or of the record of a sweep."""
        return f"sha256:{self.subjects[0].digest.sha256}"

    @property
    def payload(self) -> bytes:
        """Return the Statement as canonical JSON."""
        return canonical_json(
            {
                "_type": STATEMENT_TYPE,
                "subject": [subject.plain() for subject in self.subjects],
                "predicateType": PREDICATE_TYPES[self.role],
                "predicate": self.predicate.plain(),
            }
        )


_PREDICATES: dict[str, tuple[SignerRole, type[ClusterRun | SelfSigned]]] = {
    PREDICATE_TYPES["Operator"]: ("Operator", ClusterRun),
    PREDICATE_TYPES["User"]: ("User", SelfSigned),
}


def parse_attestation(payload: bytes) -> Attestation:
    """Return the Statement in the payload of an envelope. Raises EnvelopeError."""
    document = strict_json(payload)
    fields = document if isinstance(document, dict) else {}
    if fields.get("_type") != STATEMENT_TYPE:
        raise EnvelopeError(f"signs a payload of type {_shown(fields.get('_type'))}, not {STATEMENT_TYPE}")
    kind = fields.get("predicateType")
    if not isinstance(kind, str) or kind not in _PREDICATES:
        raise EnvelopeError(f"signs a Statement with the predicate {_shown(kind)}, not one about a receipt")
    role, model = _PREDICATES[kind]
    try:
        predicate = model.model_validate(fields.get("predicate"))
        attestation = Attestation(role=role, subjects=fields.get("subject"), predicate=predicate)
    except ValidationError as error:
        field, problem = first_problem(error)
        raise EnvelopeError(f"signs a Statement with a wrong field ({field}: {problem})") from error
    if attestation.subjects[0].name not in (RECEIPT_NAME, SWEEP_RECORD_NAME):
        raise EnvelopeError(f"signs {_shown(attestation.subjects[0].name)}, not {RECEIPT_NAME}")
    return attestation


def subject(name: str, digest: str) -> Subject:
    """Return the subject of a name and a digest `sha256:<hex>`."""
    return Subject(name=name, digest=DigestSet(sha256=digest.removeprefix("sha256:")))


def _shown(value: Any) -> str:
    return repr(value)[:100]
