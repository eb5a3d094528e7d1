"""Signatures of receipts: those that a policy accepts count once each, and everything else is named and refused."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seedbed.receipts import statement, to_bytes
from seedbed.receipts.signatures import MOST_ENVELOPES, Signed, Unsigned, signature_status
from seedbed_api.attestations.dsse_envelope import MOST_BYTES, EnvelopeError, parse_envelope, sign_payload
from seedbed_api.attestations.receipt_attestation import parse_attestation
from seedbed_api.attestations.signature_policy import parse_policy
from seedbed_api.attestations.signing_keys import SigningKey
from seedbed_api.errors import UserError
from support.runs.example_receipt import DATASET, DECIDED, EXECUTION
from support.signing import a_cluster_run, a_key, a_policy, a_self_signed, edited, payload_of

NOW = datetime(2026, 11, 30, tzinfo=UTC)
RUN = DECIDED.run_id
RECEIPT = to_bytes(statement(DECIDED, EXECUTION))
OTHER_RECEIPT = to_bytes(statement(DECIDED, replace(EXECUTION, attempts=3)))
KEY, OTHER, P256 = a_key(), a_key(), a_key("ecdsa-p256")
ENVELOPE = sign_payload(a_cluster_run(RECEIPT, RUN).payload, KEY)


def a_status(
    *envelopes: bytes, policy: str = "", receipt: bytes = RECEIPT, now: datetime = NOW
) -> Signed | Unsigned:
    accepted = parse_policy(policy or a_policy(("cluster-a", KEY)), shown="policy.yaml")
    return signature_status(receipt, envelopes, accepted, now=now)


@pytest.mark.parametrize("key", [KEY, P256], ids=["ed25519", "ecdsa-p256"])
def test_a_signature_of_an_accepted_key_counts(key: SigningKey) -> None:
    envelope = sign_payload(a_cluster_run(RECEIPT, RUN).payload, key)
    found = a_status(envelope, policy=a_policy(("cluster-a", key)))
    assert isinstance(found, Signed)
    assert [(by.name, by.role, by.key_id) for by in found.by] == [
        ("cluster-a", "Operator", key.public.key_id)
    ]
    assert found.by[0].statement.job.namespace == "vision"


def _reversed_signature(envelope: bytes) -> bytes:
    signature = json.loads(envelope)["signatures"][0]
    raw = base64.b64decode(signature["sig"])[::-1]
    return edited(envelope, signatures=[{**signature, "sig": base64.b64encode(raw).decode()}])


def _with_payload(change: Callable[[dict], object]) -> bytes:
    """Return the envelope with a payload that was changed after signing."""
    document = payload_of(ENVELOPE)
    change(document)
    return edited(ENVELOPE, payload=base64.b64encode(json.dumps(document).encode()).decode())


def _signed(document: object) -> bytes:
    """Return an envelope that the accepted key has really signed."""
    return sign_payload(json.dumps(document).encode(), KEY)


STATEMENT = payload_of(ENVELOPE)
PAYLOAD = json.loads(ENVELOPE)["payload"]
SIGNATURE = json.loads(ENVELOPE)["signatures"][0]

REFUSED: dict[str, tuple[bytes, str]] = {
    "another key": (sign_payload(a_cluster_run(RECEIPT, RUN).payload, OTHER), "no valid signature of a key in the policy"),
    "another key that claims the accepted one": (
        edited(
            sign_payload(a_cluster_run(RECEIPT, RUN).payload, OTHER),
            signatures=[
                {
                    "keyid": KEY.public.key_id,
                    "sig": json.loads(sign_payload(a_cluster_run(RECEIPT, RUN).payload, OTHER))["signatures"][0]["sig"],
                }
            ],
        ),
        "no valid signature of a key in the policy",
    ),
    "an altered signature": (_reversed_signature(ENVELOPE), "no valid signature"),
    "an altered namespace": (
        _with_payload(lambda document: document["predicate"]["job"].update(namespace="finance")),
        "no valid signature",
    ),
    "an altered receipt digest": (
        _with_payload(lambda document: document["subject"][0]["digest"].update(sha256="0" * 64)),
        "no valid signature",
    ),
    "another receipt of the same run": (
        sign_payload(a_cluster_run(OTHER_RECEIPT, RUN).payload, KEY),
        "it is about receipt.json sha256:",
    ),
    "another run": (sign_payload(a_cluster_run(RECEIPT, DATASET).payload, KEY), f"it is about run {DATASET}"),
    "another payload type": (edited(ENVELOPE, payloadType="application/json"), "payloadType"),
    "the signature of the bare payload": (
        edited(
            ENVELOPE,
            signatures=[
                {**SIGNATURE, "sig": base64.b64encode(KEY.sign(base64.b64decode(PAYLOAD))).decode()}
            ],
        ),
        "no valid signature",
    ),
    "another predicate": (
        _signed({**STATEMENT, "predicateType": "https://slsa.dev/provenance/v1"}),
        "'https://slsa.dev/provenance/v1', not one about a receipt",
    ),
    "the statement of a user by an operator's key": (
        sign_payload(a_self_signed(RECEIPT, RUN).payload, KEY),
        "role User, and the policy accepts Operator",
    ),
    "another kind of document": (_signed({**STATEMENT, "_type": "https://in-toto.io/Statement/v0.1"}), "of type"),
    "a list instead of a statement": (_signed([STATEMENT]), "of type None"),
    "a statement without a subject": (_signed({**STATEMENT, "subject": []}), "subjects"),
    "a statement about another object": (
        _signed({**STATEMENT, "subject": [{**STATEMENT["subject"][0], "name": "model/model.safetensors"}]}),
        "not receipt.json",
    ),
    "a receipt as second subject": (
        _signed({**STATEMENT, "subject": [{"name": "receipt.json", "digest": {"sha256": "0" * 64}}, *STATEMENT["subject"]]}),
        "it is about receipt.json sha256:0000",
    ),
    "a record of a sweep of that digest": (
        _signed({**STATEMENT, "subject": [{**STATEMENT["subject"][0], "name": "ledger.json"}]}),
        "it is about ledger.json",
    ),
    "a repeated field in the statement": (
        sign_payload(
            json.dumps(STATEMENT)[:-1].encode() + b', "predicate": ' + json.dumps(STATEMENT["predicate"]).encode() + b"}", KEY
        ),
        "an object has a key twice",
    ),
    "a huge envelope": (edited(ENVELOPE, payload="A" * MOST_BYTES), f"more than {MOST_BYTES} bytes"),
    "a deep envelope": (b"[" * 60_000, "is no JSON"),
    "an empty file": (b"", "is no JSON"),
    "no JSON": (b"\xff\xfe", "is no JSON"),
    "a number": (b"1", "is no DSSE envelope"),
    "a repeated field": (ENVELOPE[:-1] + b',"payload":"e30="}', "an object has a key twice"),
    "an unknown field": (edited(ENVELOPE, extra=1), "extra"),
    "no signature": (edited(ENVELOPE, signatures=[]), "signatures"),
    "the same signature twice": (edited(ENVELOPE, signatures=[SIGNATURE, SIGNATURE]), "the same signature twice"),
    "too many signatures": (edited(ENVELOPE, signatures=[SIGNATURE] * 17), "signatures"),
    "Base64 for URLs": (
        edited(ENVELOPE, payload=base64.urlsafe_b64encode(b"\xff\xfe\xfd" + base64.b64decode(PAYLOAD)).decode()),
        "payload is no standard Base64",
    ),
    "Base64 without padding": (edited(ENVELOPE, signatures=[{**SIGNATURE, "sig": SIGNATURE["sig"].rstrip("=")}]), "sig is no"),
    "Base64 with a line break": (edited(ENVELOPE, payload=PAYLOAD[:8] + "\n" + PAYLOAD[8:]), "payload is no standard"),
    "Base64 with spare bits": (edited(ENVELOPE, signatures=[{**SIGNATURE, "sig": "QR=="}]), "sig is no canonical"),
    "Base64 after the end": (edited(ENVELOPE, payload=PAYLOAD + "===="), "payload is no"),
}  # fmt: skip


@pytest.mark.parametrize("narrative", REFUSED)
def test_what_does_not_count_is_named_in_one_line(narrative: str) -> None:
    envelope, reason = REFUSED[narrative]
    found = a_status(envelope)
    assert isinstance(found, Unsigned)
    assert reason in found.reason
    assert "\n" not in found.reason
    assert isinstance(a_status(envelope, ENVELOPE), Signed), "what anyone may add hides no signature"


def test_without_an_envelope_the_receipt_is_unsigned() -> None:
    found = a_status()
    assert isinstance(found, Unsigned)
    assert (
        found.reason == "0 of 1 signatures that the policy asks for: there is no envelope beside the receipt"
    )


def test_a_receipt_that_was_changed_is_refused_before_its_signature() -> None:
    with pytest.raises(UserError, match="was changed") as caught:
        a_status(ENVELOPE, receipt=RECEIPT.replace(b'"totalSteps":20', b'"totalSteps":21'))
    assert caught.value.reason == "ReceiptTampered"


def test_a_signer_counts_once_however_often_it_signed() -> None:
    again = sign_payload(a_cluster_run(RECEIPT, RUN, attempt=2).payload, KEY)
    two = a_policy(("cluster-a", KEY), ("cluster-b", OTHER), minimum=2)
    assert isinstance(a_status(ENVELOPE, ENVELOPE, again, policy=two), Unsigned)
    p256 = a_policy(("cluster-a", P256), ("cluster-b", OTHER), minimum=2)
    several = [sign_payload(a_cluster_run(RECEIPT, RUN).payload, P256) for _ in range(3)]
    assert len(set(several)) == 3, "each ECDSA signature has other bytes"
    assert isinstance(a_status(*several, policy=p256), Unsigned)
    both = a_status(*several, sign_payload(a_cluster_run(RECEIPT, RUN).payload, OTHER), policy=p256)
    assert isinstance(both, Signed)
    assert [by.name for by in both.by] == ["cluster-a", "cluster-b"]


def test_one_envelope_may_carry_the_signatures_of_two_keys() -> None:
    payload = a_cluster_run(RECEIPT, RUN).payload
    signatures = [json.loads(sign_payload(payload, key))["signatures"][0] for key in (KEY, OTHER)]
    envelope = edited(ENVELOPE, signatures=signatures)
    assert isinstance(a_status(envelope, policy=a_policy(("a", KEY), ("b", OTHER), minimum=2)), Signed)


def test_a_signature_without_the_name_of_its_key_counts() -> None:
    assert isinstance(a_status(edited(ENVELOPE, signatures=[{"sig": SIGNATURE["sig"]}])), Signed)


@pytest.mark.parametrize(
    ("now", "counts"),
    [(datetime(2026, 11, 30, 11, 59, tzinfo=UTC), True), (datetime(2026, 11, 30, 12, tzinfo=UTC), False)],
)
def test_an_expired_key_counts_no_more(now: datetime, counts: bool) -> None:
    policy = a_policy(("cluster-a", KEY), more='validUntil: "2026-11-30T12:00:00Z"')
    found = a_status(ENVELOPE, policy=policy, now=now)
    assert isinstance(found, Signed) == counts
    if isinstance(found, Unsigned):
        assert "the key was valid until 2026-11-30T12:00:00Z" in found.reason
        assert KEY.public.key_id in found.reason


@pytest.mark.parametrize(
    ("more", "refused"),
    [
        ("namespaces: [vision]", ""),
        ("namespaces: [finance, vi*]", ""),
        ("namespaces: [visio]", "namespace vision is none of visio"),
        ('namespaces: ["*isio"]', "namespace vision is none of"),
        ("namespaces: []", "namespace vision is none of"),
        (f"images: ['sha256:{'7' * 64}']", ""),
        ("images: [registry.example/seedbed@sha256:*]", ""),
        (f"images: ['sha256:{'8' * 64}']", "image registry.example/seedbed@sha256:7777"),
        ("images: [registry.example/seedbed]", "image registry.example/seedbed@sha256:7777"),
        ("images: [registryXexample/*]", "image registry.example"),
    ],
)
def test_namespace_and_image_must_match_the_policy(more: str, refused: str) -> None:
    found = a_status(ENVELOPE, policy=a_policy(("cluster-a", KEY), more=more))
    assert isinstance(found, Unsigned if refused else Signed), found
    if isinstance(found, Unsigned):
        assert refused in found.reason


def test_every_image_of_the_attempt_must_match() -> None:
    other = "registry.example/other@sha256:" + "6" * 64
    images = ("registry.example/seedbed@sha256:" + "7" * 64, other)
    envelope = sign_payload(a_cluster_run(RECEIPT, RUN, images=images).payload, KEY)
    policy = a_policy(("cluster-a", KEY), more="images: [registry.example/seedbed@*]")
    found = a_status(envelope, policy=policy)
    assert isinstance(found, Unsigned)
    assert f"image {other} is none of" in found.reason


def test_envelopes_beyond_the_bound_are_not_read() -> None:
    found = a_status(*[b"{}"] * MOST_ENVELOPES, ENVELOPE)
    assert isinstance(found, Unsigned)
    assert len(found.reason) < 1000


WRONG_POLICIES = {
    "nothing": ("", "holds no document"),
    "two documents": ("minimum: 1\n---\nminimum: 1\n", "2 documents"),
    "no signer": ("minimum: 1\n", "minimum: is more than there are keys and identities (got 1)"),
    "more signatures than signers": (
        a_policy(("a", KEY), minimum=2),
        "minimum: is more than there are keys and identities (got 2)",
    ),
    "a minimum of none": (a_policy(("a", KEY), minimum=0), "minimum: must be at least 1 (got 0)"),
    "one name twice": (a_policy(("a", KEY), ("a", OTHER)), "keys: has name a more than once"),
    "one key under two names": (
        a_policy(("a", KEY), ("b", KEY), minimum=2),
        f"keys: a and b are one key, {KEY.public.key_id}",
    ),
    "an unknown field": (a_policy(("a", KEY), more="namespace: vision"), "keys[0].namespace"),
    "an identity": (
        "identities:\n- {name: ci, issuer: https://example.com}\n",
        "identities",
    ),
    "an unknown role": (a_policy(("a", KEY), role="Anyone"), "keys[0].role"),
    "a private key": (
        a_policy(("a", KEY)).replace(KEY.public_pem.splitlines()[1], "x").replace("PUBLIC", "PRIVATE"),
        "keys[0].name: is that of a private key, which nobody else may read (got 'a')",
    ),
    "no key": (
        "keys:\n- {name: a, role: User, publicKey: abc}\n",
        "keys[0].publicKey: holds no public key in PEM",
    ),
    "more than pods can be given": (
        a_policy(("a", KEY), more="images: [" + ", ".join(f"r{n:0511}" for n in range(64)) + "]")
        + a_policy(("b", OTHER), more="images: [" + ", ".join(f"r{n:0511}" for n in range(64)) + "]").split(
            "keys:\n"
        )[1],
        "keys: take 6",
    ),
    "a time without a zone": (a_policy(("a", KEY), more="validUntil: tomorrow"), "keys[0].validUntil"),
    "a pattern with other marks": (
        a_policy(("a", KEY), more="namespaces: ['team-[ab]']"),
        "keys[0].namespaces[0]",
    ),
}


@pytest.mark.parametrize("narrative", WRONG_POLICIES)
def test_a_wrong_policy_is_one_line_with_field_and_fix(narrative: str) -> None:
    text, line = WRONG_POLICIES[narrative]
    with pytest.raises(UserError) as caught:
        parse_policy(text, shown="policy.yaml")
    assert caught.value.reason in {"InvalidPolicy", "InvalidSpec"}
    assert caught.value.message.startswith("policy.yaml: ")
    assert line in caught.value.message
    assert "\n" not in caught.value.message


@settings(deadline=None, max_examples=100)
@given(data=st.one_of(st.binary(max_size=300), st.text(max_size=300).map(str.encode)))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (parse_envelope, parse_attestation):
        with pytest.raises(EnvelopeError):
            read(data)


@settings(deadline=None, max_examples=200)
@given(at=st.integers(0, len(ENVELOPE) - 1), to=st.integers(0, 255))
def test_an_envelope_with_one_other_byte_does_not_count_or_says_the_same(at: int, to: int) -> None:
    changed = ENVELOPE[:at] + bytes([to]) + ENVELOPE[at + 1 :]
    found = a_status(changed)
    if isinstance(found, Signed):
        assert found.by[0].statement == a_cluster_run(RECEIPT, RUN).predicate
        assert json.loads(changed)["payload"] == PAYLOAD
