"""`seedbed signature-uploader` as the operator starts it: the signature is beside the receipt, or one message says why not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from seedbed.cli import verify
from seedbed.receipts import read_receipt
from seedbed.receipts.signature_store import envelope_path
from seedbed.runs.owner_records import read_owner
from seedbed_api.attestations.dsse_envelope import sign_payload
from seedbed_api.attestations.signing_keys import SigningKey
from seedbed_api.canonical_json import digest_of
from seedbed_api.manifest_loader import training_job
from seedbed_api.object_metadata import ObjectMeta
from seedbed_api.pod_contract import env_vars
from seedbed_api.pod_contract.pod_environment import SignatureUploaderEnvironment
from seedbed_api.pod_contract.signature_messages import SignatureUploadOutcome, parse_signature_upload
from support.runs.small_run import a_manifest
from support.signing import a_cluster_run, a_key, a_policy


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return a_key()


@pytest.fixture
def stored(run: Path, tmp_path: Path) -> Path:
    """Return a run in `runs/<identity>` of a store, which may be changed."""
    place = tmp_path / "store" / "runs" / run.name
    place.parent.mkdir(parents=True)
    return run.rename(place)


def envelope_of(run: Path, key: SigningKey, **changes: Any) -> bytes:
    """Return the operator's signature of a run."""
    receipt = read_receipt(run)
    return sign_payload(a_cluster_run(receipt.data, receipt.decided.run_id, **changes).payload, key)


def uploaded(
    run: Path, data: Path, scratch: Path, envelope: bytes, **changes: Any
) -> tuple[int, SignatureUploadOutcome | None, str]:
    """Return exit code, message and log of an uploader of a run in a store of its own."""
    variables = {name: changes.pop(name) for name in list(changes) if name.isupper()}
    known = read_receipt(run)
    manifest = a_manifest(data, scratch)
    manifest["spec"]["output"] = {"uri": changes.pop("output", str(scratch / "store"))}
    metadata = ObjectMeta.model_construct(name="small", namespace="team", uid="1-2")
    told: dict[str, Any] = {
        "job": training_job(manifest).model_copy(update={"metadata": metadata}),
        "attempt": 1,
        "role": "signature-uploader",
        "expected_run_id": known.decided.run_id,
        "receipt_digest": digest_of(known.data),
        "signature": envelope.decode(),
    }
    message = scratch / "termination-log"
    message.unlink(missing_ok=True)
    ended = subprocess.run(  # noqa: PLW1510 - the exit code is looked at
        [f"{sys.prefix}/bin/seedbed", "signature-uploader"],
        env={
            "PATH": os.environ["PATH"],
            **SignatureUploaderEnvironment(**{**told, **changes}).to_env(),
            **variables,
            "HOME": str(scratch),
            env_vars.TERMINATION_LOG: str(message),
        },
        capture_output=True,
        text=True,
        timeout=600,
        cwd=scratch,
    )
    said = message.read_text() if message.exists() else ""
    return ended.returncode, parse_signature_upload(said), ended.stdout + ended.stderr


def file_of(run: Path, key: SigningKey) -> Path:
    return run / envelope_path(key.public.key_id)


def test_a_stored_signature_is_found_by_verify_and_storing_again_changes_nothing(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey
) -> None:
    envelope = envelope_of(stored, key)
    for _ in range(2):
        code, outcome, log = uploaded(stored, data, tmp_path, envelope)
        assert outcome is not None, log
        assert (code, outcome.result) == (0, "Stored")
        assert outcome.message == f"file://{file_of(stored, key)}"
        assert file_of(stored, key).read_bytes() == envelope
    policy = tmp_path / "policy.yaml"
    policy.write_text(a_policy(("cluster", key)))
    arguments = (stored, "--from-step", 6, "--to-step", 7, "--dataset", data, "--policy", policy)
    result = CliRunner().invoke(verify.command, [*map(str, arguments), "--require-signature"])
    assert result.exit_code == 0, result.output
    assert result.output.startswith("signed: operator cluster")


def test_it_is_stored_in_the_place_that_the_namespace_has(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey
) -> None:
    """The folder of the run is somebody else's, whose receipt is of other bytes."""
    secret = tmp_path / "secrets/owner"
    secret.mkdir(parents=True)
    (secret / "token").write_text("k" * 43)
    envelope = envelope_of(stored, key)
    own = tmp_path / "store" / read_owner(secret / "token").place / "runs" / stored.name
    own.parent.mkdir(parents=True)
    stored.rename(own)
    stored.mkdir()
    (stored / "receipt.json").write_bytes((own / "receipt.json").read_bytes() + b" ")
    code, outcome, log = uploaded(
        own, data, tmp_path, envelope, **{env_vars.SECRETS_FOLDER: str(secret.parent)}
    )
    assert outcome is not None, log
    assert (code, outcome.result) == (0, "Stored")
    assert file_of(own, key).read_bytes() == envelope
    assert not (stored / "signatures").exists()


def test_another_signature_of_the_key_about_the_receipt_is_never_replaced(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey
) -> None:
    """It may be valid, of another namespace that shares the store."""
    first = envelope_of(stored, key)
    uploaded(stored, data, tmp_path, first)
    code, outcome, log = uploaded(stored, data, tmp_path, envelope_of(stored, key, attempt=2))
    assert outcome is not None, log
    assert (code, outcome.result) == (2, "Refused")
    assert "another signature of this signer" in outcome.message
    assert "seedbed sign --envelope" in outcome.message
    assert file_of(stored, key).read_bytes() == first


@pytest.mark.parametrize("junk", ["text", "of another receipt", "too long", "a link"])
def test_what_can_never_count_gives_way(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey, junk: str
) -> None:
    envelope, file = envelope_of(stored, key), file_of(stored, key)
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text("not ours")
    file.parent.mkdir()
    if junk == "a link":
        file.symlink_to(elsewhere)
    else:
        other = sign_payload(a_cluster_run(b"another", read_receipt(stored).decided.run_id).payload, key)
        written = {"text": b"{", "of another receipt": other, "too long": b" " * 2**20}
        file.write_bytes(written[junk])
    code, outcome, log = uploaded(stored, data, tmp_path, envelope)
    assert outcome is not None, log
    assert (code, outcome.result) == (0, "Stored")
    assert (file.read_bytes(), file.is_symlink()) == (envelope, False)
    assert elsewhere.read_text() == "not ours"


def test_what_does_not_fit_is_refused_in_one_line_and_writes_nothing(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey
) -> None:
    good, zero = envelope_of(stored, key), "sha256:" + "0" * 64
    other = sign_payload(a_cluster_run(b"another", read_receipt(stored).decided.run_id).payload, key)
    for envelope, changes, problem in (
        (good, {"receipt_digest": zero}, "the driver reported sha256:0000"),
        (good, {"expected_run_id": zero}, "there is no receipt"),
        (other, {}, "is about receipt.json sha256:"),
        (b"{}", {}, "is no DSSE envelope"),
    ):
        code, outcome, log = uploaded(stored, data, tmp_path, envelope, **changes)
        assert outcome is not None, log
        assert (code, outcome.result) == (2, "Refused"), problem
        assert problem in outcome.message
        assert "\n" not in outcome.message
        assert not (stored / "signatures").exists()


def test_a_store_that_does_not_answer_leaves_no_message(
    stored: Path, data: Path, tmp_path: Path, key: SigningKey
) -> None:
    variables = {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "y",
    }
    code, outcome, log = uploaded(
        stored, data, tmp_path, envelope_of(stored, key), output="s3://runs/team", **variables
    )
    assert (code, outcome) == (75, None), log
