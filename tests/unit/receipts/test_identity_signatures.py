"""Signatures by identity: real bundles of an instance of the tests, verified by the library itself."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sigstore", reason="not run: seedbed[sign] is not installed")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedbed.receipts import identity_signatures, statement, to_bytes, trusted_roots
from seedbed.receipts.identity_signatures import (
    MOST_BUNDLE_BYTES,
    Identity,
    trusted_identities,
)
from seedbed.receipts.signature_store import read_policy
from seedbed.receipts.signatures import Signed, Unsigned, signature_status
from seedbed.receipts.trusted_roots import TrustedRootFile
from seedbed_api.accepted_signers import SignaturePolicy
from seedbed_api.attestations.dsse_envelope import EnvelopeError, sign_payload
from seedbed_api.attestations.signature_policy import VerifierPolicy, parse_policy
from seedbed_api.errors import UserError
from support.runs.example_receipt import DATASET, DECIDED, EXECUTION
from support.signing import a_cluster_run, a_key, a_policy, a_self_signed, edited
from support.sigstore_instance import ISSUER, SIGNED, SUBJECT, SigstoreInstance, with_entry

NOW = datetime(2026, 11, 30, tzinfo=UTC)
RUN = DECIDED.run_id
RECEIPT = to_bytes(statement(DECIDED, EXECUTION))
PAYLOAD = a_self_signed(RECEIPT, RUN).payload
INSTANCE, FOREIGN = SigstoreInstance(), SigstoreInstance("foreign")
BUNDLE = INSTANCE.bundle(PAYLOAD)
KEY = a_key()


def identities(*entries: dict[str, str], minimum: int = 1) -> str:
    """Return a policy of identities; each is the usual one but for the fields given."""
    usual = {"issuer": ISSUER, "subject": SUBJECT, "trustedRoot": "trusted_root.json"}
    return json.dumps({"minimum": minimum, "identities": [{**usual, **entry} for entry in entries or [{}]]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    (folder / "trusted_root.json").write_bytes(INSTANCE.trusted_root())
    (folder / "foreign.json").write_bytes(FOREIGN.trusted_root())
    return folder


def policy_in(folder: Path, text: str) -> VerifierPolicy:
    (folder / "policy.yaml").write_text(text)
    return read_policy(folder / "policy.yaml")


@pytest.fixture(scope="module")
def status(folder: Path) -> Callable[..., Signed | Unsigned]:
    def look(*bundles: bytes, policy: str = "", now: datetime = NOW) -> Signed | Unsigned:
        accepted = policy_in(folder, policy or identities())
        trusted = trusted_identities(accepted)
        return signature_status(RECEIPT, bundles, accepted, now=now, identities=trusted)

    return look


def test_an_accepted_identity_counts(status) -> None:
    found = status(BUNDLE)
    assert isinstance(found, Signed), found
    (by,) = found.by
    assert (by.name, by.issuer, by.role, by.key_id) == (SUBJECT, ISSUER, "User", "")
    assert by.statement == a_self_signed(RECEIPT, RUN).predicate


@pytest.mark.parametrize("versions", [(1,), (2,)], ids=["bare text", "UTF8String"])
def test_an_issuer_counts_in_either_spelling_of_fulcio(status, versions: tuple[int, ...]) -> None:
    assert isinstance(status(INSTANCE.bundle(PAYLOAD, versions=versions)), Signed)


def _altered_payload(change: Callable[[dict], object]) -> bytes:
    document = json.loads(PAYLOAD)
    change(document)
    envelope = json.loads(BUNDLE)["dsseEnvelope"]
    payload = base64.b64encode(json.dumps(document).encode()).decode()
    return edited(BUNDLE, dsseEnvelope={**envelope, "payload": payload})


def _with_material(**changes: Any) -> bytes:
    return edited(BUNDLE, verificationMaterial={**json.loads(BUNDLE)["verificationMaterial"], **changes})


def _with_proof(**changes: Any) -> bytes:
    proof = json.loads(BUNDLE)["verificationMaterial"]["tlogEntries"][0]["inclusionProof"]
    return with_entry(BUNDLE, inclusionProof={**proof, **changes})


def _mixed(*, certificate: bytes = BUNDLE, entry: bytes = BUNDLE, envelope: bytes = BUNDLE) -> bytes:
    """Return a bundle of parts of others."""
    parts = [json.loads(each) for each in (certificate, entry, envelope)]
    material = {
        "certificate": parts[0]["verificationMaterial"]["certificate"],
        "tlogEntries": parts[1]["verificationMaterial"]["tlogEntries"],
    }
    return edited(BUNDLE, verificationMaterial=material, dsseEnvelope=parts[2]["dsseEnvelope"])


OTHER_RUN = INSTANCE.bundle(a_self_signed(RECEIPT, DATASET).payload)
OTHER_RECEIPT = INSTANCE.bundle(a_self_signed(b"{}", RUN).payload)
AGAIN = INSTANCE.bundle(PAYLOAD)
ENTRY = json.loads(BUNDLE)["verificationMaterial"]["tlogEntries"][0]
LATE = str(int((SIGNED + timedelta(days=1)).timestamp()))

REFUSED: dict[str, tuple[bytes, str]] = {
    "another issuer": (INSTANCE.bundle(PAYLOAD, issuer="https://issuer.example"), f"of no identity in the policy, which lists {ISSUER}"),
    "an issuer with a slash more": (INSTANCE.bundle(PAYLOAD, issuer=f"{ISSUER}/"), "of no identity in the policy"),
    "another subject": (INSTANCE.bundle(PAYLOAD, subject=f"{SUBJECT}-2"), f"of no identity in the policy, which lists {SUBJECT}"),
    "two subjects": (INSTANCE.bundle(PAYLOAD, subject=(SUBJECT, "anna@example.com")), "1 issuers and 2 subjects"),
    "no issuer": (INSTANCE.bundle(PAYLOAD, versions=()), "0 issuers and 1 subjects"),
    "an authority that is not trusted": (FOREIGN.bundle(PAYLOAD), "failed to build timestamp certificate chain"),
    "a certificate that no log has promised to list": (INSTANCE.bundle(PAYLOAD, sct=False), "failed to verify SCT"),
    "a certificate of another bundle": (_mixed(certificate=AGAIN), "DSSE: invalid signature"),
    "an envelope of another bundle": (_mixed(envelope=AGAIN), "DSSE: invalid signature"),
    "a log entry of another bundle": (_mixed(entry=AGAIN), "log entry signatures do not match bundle"),
    "a log entry of another payload": (_mixed(entry=OTHER_RUN), "log entry payload hash does not match"),
    "no log entry": (_with_material(tlogEntries=[]), "exactly one log entry"),
    "two log entries": (_with_material(tlogEntries=[ENTRY, ENTRY]), "exactly one log entry"),
    "no field of log entries": (edited(BUNDLE, verificationMaterial={"certificate": {"rawBytes": "e30="}}), "tlogEntries"),
    "no proof of inclusion": (with_entry(BUNDLE, inclusionProof=None), "inclusionProof"),
    "a proof without the log's signature": (_with_proof(checkpoint=None), "inclusion proof, with checkpoint"),
    "a proof of another root": (_with_proof(rootHash="AAAA"), "invalid root hash"),
    "a proof with other hashes": (_with_proof(hashes=[]), "inclusion proof has wrong size"),
    "a place beyond the log": (_with_proof(logIndex="99"), "must be less than treeSize"),
    "no proof of time": (with_entry(BUNDLE, inclusionPromise=None), "must contain an inclusion promise or signed timestamp"),
    "an integrated time alone": (with_entry(BUNDLE, integratedTime=None), "not enough sources of verified time"),
    "a time that the log did not sign": (with_entry(BUNDLE, integratedTime=str(int(SIGNED.timestamp()) + 1)), "invalid inclusion promise"),
    "a certificate that had expired": (with_entry(INSTANCE.bundle(PAYLOAD), integratedTime=LATE), "certificate chain"),
    "a certificate that the log saw after it had expired": (
        INSTANCE.bundle(PAYLOAD, when=SIGNED, start=SIGNED - timedelta(hours=1)), "certificate chain"
    ),
    "a certificate of later": (INSTANCE.bundle(PAYLOAD, start=SIGNED + timedelta(hours=1)), "certificate chain"),
    "a time of the year 500000": (with_entry(BUNDLE, integratedTime=str(2**44)), "does not verify"),
    "an altered run": (_altered_payload(lambda document: document["predicate"].update(runID=DATASET)), "DSSE: invalid signature"),
    "an altered digest": (
        _altered_payload(lambda document: document["subject"][0]["digest"].update(sha256="0" * 64)), "DSSE: invalid signature"
    ),
    "another type of payload": (INSTANCE.bundle(PAYLOAD, payload_type="text/plain"), "signs a payload of type 'text/plain'"),
    "another receipt": (OTHER_RECEIPT, "it is about receipt.json sha256:44136fa3"),
    "another run": (OTHER_RUN, f"it is about run {DATASET}"),
    "the statement of an operator": (
        INSTANCE.bundle(a_cluster_run(RECEIPT, RUN).payload), "role Operator, and the policy accepts User of this identity"
    ),
    "a list as payload": (INSTANCE.bundle(b"[]"), "signs a payload of type None"),
    "a payload that is no JSON": (INSTANCE.bundle(b"\xff"), "is no JSON"),
    "an older version": (edited(BUNDLE, mediaType="application/vnd.dev.sigstore.bundle+json;version=0.2"), "of version 0.3"),
    "an unknown field": (edited(BUNDLE, extra=1), "extra"),
    "a repeated field": (BUNDLE[:-1] + b', "dsseEnvelope": {}}', "an object has a key twice"),
    "no certificate": (_with_material(certificate=None), "Exactly one of"),
    "a key instead of a certificate": (_with_material(certificate=None, publicKey={"hint": "x"}), "expected certificate"),
    "a certificate that is none": (_with_material(certificate={"rawBytes": "AAAA"}), "is no Sigstore bundle that can be verified"),
    "timestamps of nobody": (
        _with_material(timestampVerificationData={"rfc3161Timestamps": [{"signedTimestamp": "AAAA"}]}), "Invalid Timestamp Response"
    ),
    "two signatures": (
        edited(BUNDLE, dsseEnvelope={**json.loads(BUNDLE)["dsseEnvelope"], "signatures": [{"sig": "AAAA"}, {"sig": "AAAA"}]}),
        "exactly one signature",
    ),
    "a bundle cut off": (BUNDLE[:-10], "is no JSON"),
    "a deep bundle": (b'{"verificationMaterial":' + b"[" * 60_000, "is no JSON"),
    "a huge bundle": (b'{"verificationMaterial":"' + b"A" * MOST_BUNDLE_BYTES, f"more than {MOST_BUNDLE_BYTES} bytes"),
}  # fmt: skip


@pytest.mark.parametrize("narrative", REFUSED)
def test_what_does_not_count_is_named_in_one_line(status, narrative: str) -> None:
    bundle, reason = REFUSED[narrative]
    found = status(bundle)
    assert isinstance(found, Unsigned)
    assert reason in found.reason
    assert "\n" not in found.reason
    assert len(found.reason) < 1200
    assert isinstance(status(bundle, BUNDLE), Signed), "what anyone may add hides no signature"


def test_a_bundle_counts_only_by_the_root_of_its_own_identity(status) -> None:
    others = identities({"trustedRoot": "foreign.json"})
    found = status(BUNDLE, policy=others)
    assert isinstance(found, Unsigned)
    assert "certificate chain" in found.reason
    assert "by the root of identities[0]" in found.reason
    both = identities({"trustedRoot": "foreign.json"}, {})
    assert isinstance(status(BUNDLE, policy=both), Signed), "while an instance is replaced, two roots count"


DAY = timedelta(days=1)
RETIRED: dict[str, tuple[str, str]] = {
    "an authority": ("certificateAuthorities", "no authority of the trusted root was valid"),
    "a log": ("tlogs", "no log of the trusted root was valid"),
    "a certificate log": ("ctlogs", "no certificate log of the trusted root was valid"),
}


@pytest.mark.parametrize("kind", RETIRED)
@pytest.mark.parametrize(
    ("start", "end", "counts"), [(-DAY, DAY, True), (-2 * DAY, -DAY, False), (DAY, None, False)]
)
def test_what_was_retired_or_not_yet_there_signs_nothing(
    folder: Path, kind: str, start: timedelta, end: timedelta | None, counts: bool
) -> None:
    name, reason = RETIRED[kind]
    root = json.loads(INSTANCE.trusted_root())
    (listed,) = root[name]
    period = {"start": f"{SIGNED + start:%Y-%m-%dT%H:%M:%SZ}"}
    if end is not None:
        period["end"] = f"{SIGNED + end:%Y-%m-%dT%H:%M:%S.000Z}"
    listed.get("publicKey", listed)["validFor"] = period
    found = TrustedRootFile(root)
    if counts:
        found.verifier_at(SIGNED)
        return
    with pytest.raises(EnvelopeError, match=f"is of 2026-11-21, when {reason}"):
        found.verifier_at(SIGNED)


def test_a_new_bundle_by_a_retired_authority_does_not_count(status, folder: Path) -> None:
    root = json.loads(INSTANCE.trusted_root())
    root["certificateAuthorities"][0]["validFor"]["end"] = f"{SIGNED:%Y-%m-%dT%H:%M:%SZ}"
    (folder / "retired.json").write_bytes(json.dumps(root).encode())
    policy = identities({"trustedRoot": "retired.json"})
    assert isinstance(status(INSTANCE.bundle(PAYLOAD, when=SIGNED - DAY), policy=policy), Signed)
    found = status(INSTANCE.bundle(PAYLOAD, when=SIGNED + DAY), policy=policy)
    assert isinstance(found, Unsigned)
    assert (
        "is of 2026-11-22, when no authority of the trusted root was valid (by the root of identities[0])"
        in found.reason
    )


def test_a_policy_without_identities_accepts_no_bundle() -> None:
    accepted = parse_policy(a_policy(("cluster-a", KEY)), shown="policy.yaml")
    found = signature_status(RECEIPT, [BUNDLE], accepted, now=NOW)
    assert isinstance(found, Unsigned)
    assert "a bundle is of an identity, and the policy lists none" in found.reason


def test_keys_and_identities_count_together(status) -> None:
    envelope = sign_payload(a_cluster_run(RECEIPT, RUN).payload, KEY)
    keys = f"{a_policy(('cluster-a', KEY), minimum=2)}identities: {json.dumps(json.loads(identities())['identities'])}\n"
    found = status(envelope, BUNDLE, policy=keys)
    assert isinstance(found, Signed)
    assert [by.name for by in found.by] == ["cluster-a", SUBJECT]
    assert isinstance(status(BUNDLE, BUNDLE, policy=keys), Unsigned)
    assert isinstance(status(envelope, policy=keys), Unsigned)


def test_one_person_is_one_signer_however_the_policy_names_them(status) -> None:
    twice = identities({}, {"subject": SUBJECT.replace("trainer", "*")}, minimum=2)
    assert isinstance(status(BUNDLE, AGAIN, policy=twice), Unsigned)
    other = INSTANCE.bundle(PAYLOAD, subject=SUBJECT.replace("trainer", "reviewer"))
    found = status(BUNDLE, other, policy=twice)
    assert isinstance(found, Signed)
    assert [by.name.rpartition("/")[2] for by in found.by] == ["reviewer", "trainer"]
    one_pattern = identities({"subject": SUBJECT.replace("trainer", "*")}, minimum=2)
    assert isinstance(status(BUNDLE, other, policy=one_pattern), Signed)
    assert isinstance(status(BUNDLE, AGAIN, policy=one_pattern), Unsigned)


@pytest.mark.parametrize(("minute", "counts"), [(59, True), (60, False)])
def test_an_identity_counts_until_its_date(status, minute: int, counts: bool) -> None:
    policy = identities({"validUntil": "2026-11-30T12:00:00Z"})
    found = status(
        BUNDLE, policy=policy, now=datetime(2026, 11, 30, 11, tzinfo=UTC) + timedelta(minutes=minute)
    )
    assert isinstance(found, Signed) == counts
    if isinstance(found, Unsigned):
        assert f"{SUBJECT} of {ISSUER} does not count: the identity was valid until" in found.reason


WRONG_POLICIES: dict[str, tuple[dict[str, str], str]] = {
    "everybody": ({"subject": "*"}, "identities[0].subject: must be a subject"),
    "nobody": ({"subject": ""}, "identities[0].subject: must be a subject"),
    "a subject on two lines": ({"subject": "anna@example.com\n"}, "identities[0].subject"),
    "a subject with a space": ({"subject": "anna @example.com"}, "identities[0].subject"),
    "any issuer": ({"issuer": "https://*"}, "identities[0].issuer: must be the whole issuer"),
    "no issuer": ({"issuer": ""}, "identities[0].issuer: must be the whole issuer"),
    "a name": ({"name": "ci"}, "identities[0].name: is not a field"),
    "an unknown time": ({"validUntil": "soon"}, "identities[0].validUntil"),
    "no root": ({"trustedRoot": ""}, "identities[0].trustedRoot"),
    "a root that is not there": ({"trustedRoot": "nowhere.json"}, "identities[0].trustedRoot: is no regular file"),
    "a folder as root": ({"trustedRoot": "."}, "identities[0].trustedRoot: is no regular file"),
    "a pipe as root": ({"trustedRoot": "pipe"}, "identities[0].trustedRoot: is no regular file"),
    "a huge root": ({"trustedRoot": "huge"}, "identities[0].trustedRoot: has more than 1048576 bytes"),
    "broken JSON as root": ({"trustedRoot": "broken"}, "identities[0].trustedRoot: is no trusted root"),
    "a bundle as root": ({"trustedRoot": "bundle"}, "identities[0].trustedRoot: is no trusted root"),
    "a root without an authority": ({"trustedRoot": "no-authority"}, "Fulcio certificates not found"),
    "a root without a log": ({"trustedRoot": "no-log"}, "no transparency log"),
    "a root with dates under another name": ({"trustedRoot": "snake"}, "valid_for is no name of a field; write it in camelCase"),
    "a root with logs under another name": ({"trustedRoot": "snake-key"}, "is no trusted root"),
    "a root with a damaged certificate": ({"trustedRoot": "damaged"}, "identities[0].trustedRoot: is no trusted root"),
}  # fmt: skip


@pytest.fixture(scope="module")
def wrong_roots(folder: Path) -> Path:
    os.mkfifo(folder / "pipe")
    damaged = json.loads(INSTANCE.trusted_root())
    damaged["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = "AAAA"
    snake, snake_key = json.loads(INSTANCE.trusted_root()), json.loads(INSTANCE.trusted_root())
    (authority,), (log,) = snake["certificateAuthorities"], snake_key["tlogs"]
    authority["valid_for"] = authority.pop("validFor")
    log["public_key"] = log.pop("publicKey")
    contents = {
        "snake": json.dumps(snake).encode(),
        "snake-key": json.dumps(snake_key).encode(),
        "huge": b" " * 2**21,
        "broken": b"{",
        "bundle": BUNDLE,
        "no-authority": INSTANCE.trusted_root(certificateAuthorities=[]),
        "no-log": INSTANCE.trusted_root(tlogs=[]),
        "damaged": json.dumps(damaged).encode(),
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return folder


@pytest.mark.parametrize("narrative", WRONG_POLICIES)
def test_a_wrong_policy_is_one_line_with_field_and_fix(wrong_roots: Path, narrative: str) -> None:
    entry, line = WRONG_POLICIES[narrative]
    with pytest.raises(UserError) as caught:
        policy_in(wrong_roots, identities(entry))
    assert caught.value.reason == "InvalidPolicy"
    assert line in caught.value.message
    assert "policy.yaml: " in caught.value.message
    assert "\n" not in caught.value.message
    assert "; " in caught.value.message, "the fix"


def of_a_profile(**changes: str) -> SignaturePolicy:
    """Return the policy of a TrainingProfile as pods get it."""
    root = INSTANCE.trusted_root().decode()
    entry = {"issuer": ISSUER, "subject": SUBJECT, "trustedRoot": root, **changes}
    return SignaturePolicy.model_validate_json(json.dumps({"identities": [entry]}))


def test_the_policy_of_a_profile_holds_the_root_itself() -> None:
    accepted = of_a_profile()
    for bundle, counts in ((BUNDLE, True), (FOREIGN.bundle(PAYLOAD), False)):
        trusted = trusted_identities(accepted)
        found = signature_status(RECEIPT, [bundle], accepted, now=NOW, identities=trusted)
        assert isinstance(found, Signed) == counts
    broken = json.loads(INSTANCE.trusted_root())
    broken["certificateAuthorities"][0]["certChain"]["certificates"][0]["rawBytes"] = "AAAA"
    with pytest.raises(UserError) as caught:
        trusted_identities(of_a_profile(trustedRoot=json.dumps(broken)))
    assert caught.value.message.startswith("policy: identities[0].trustedRoot: is no trusted root with")


def test_a_trusted_root_is_parsed_once_however_often_its_policy_is_looked_at(folder: Path) -> None:
    """A sweep with Signed looks at it for each run."""
    trusted_roots._parsed.cache_clear()
    policy = policy_in(folder, identities({}, {"subject": "*@example.org"}))
    for _ in range(3):
        trusted_identities(policy)
    assert trusted_roots._parsed.cache_info().misses == 1


def test_a_minimum_above_the_listed_identities_is_refused() -> None:
    with pytest.raises(UserError, match="minimum: is more than there are keys and identities"):
        parse_policy(identities({}, minimum=2), shown="policy.yaml")


def test_without_the_library_a_policy_of_identities_says_what_to_install(folder: Path, monkeypatch) -> None:
    monkeypatch.setattr(identity_signatures, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        policy_in(folder, identities())
    assert caught.value.reason == "InvalidUsage"
    assert caught.value.message.endswith("policy.yaml: identities: signatures by identity need the package sigstore; install seedbed[sign]")  # fmt: skip
    assert trusted_identities(policy_in(folder, a_policy(("cluster-a", KEY)))) == ()


def test_what_a_certificate_names_is_shown_without_control_characters() -> None:
    assert (
        str(Identity("https://issuer.example", "anna\x1b[31m\n"))
        == "anna\\x1b[31m\\n of https://issuer.example"
    )


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(at=st.integers(0, len(BUNDLE) - 1), to=st.integers(0, 255))
def test_a_bundle_with_one_other_byte_does_not_count_or_says_the_same(status, at: int, to: int) -> None:
    found = status(BUNDLE[:at] + bytes([to]) + BUNDLE[at + 1 :])
    if isinstance(found, Signed):
        assert (found.by[0].name, found.by[0].statement) == (SUBJECT, a_self_signed(RECEIPT, RUN).predicate)
    else:
        assert "\n" not in found.reason
