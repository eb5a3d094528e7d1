"""`seedbed sign` and `seedbed verify --require-signature`: who vouches for a run, by the verifier's own policy."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from seedbed.cli import sign, verify
from seedbed.receipts import read_receipt
from seedbed_api.attestations.dsse_envelope import sign_payload
from seedbed_api.attestations.signing_keys import SigningKey, load_signing_key
from seedbed_api.errors import UserError
from support.signing import a_cluster_run, a_key, a_policy, private_pem

STEPS = ("--from-step", 6, "--to-step", 7)


def said(command, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    (tmp_path / "signing.key").write_bytes(private_pem())
    return tmp_path / "signing.key"


@pytest.fixture
def policy_of(tmp_path: Path) -> Callable[..., Path]:
    def write(key: SigningKey, **more: str) -> Path:
        (tmp_path / "policy.yaml").write_text(a_policy(("mine", key), **more))
        return tmp_path / "policy.yaml"

    return write


def loaded(file: Path) -> SigningKey:
    return load_signing_key(file.read_bytes(), shown="key")


def test_a_run_is_signed_and_verified_by_a_policy(run: Path, data: Path, key_file: Path, policy_of) -> None:
    signed = said(sign.command, run, "--key", key_file)
    name = loaded(key_file).public.key_id.removeprefix("sha256:")
    assert signed.output == f"signed: file://{run}/signatures/{name}.dsse.json\n"
    policy = policy_of(loaded(key_file), role="User")
    result = said(verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "--require-signature")
    assert result.exit_code == 0, result
    assert result.output.startswith(f"signed: user mine (sha256:{name}), who vouches for it\n")
    as_json = said(verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "-o", "json")
    assert json.loads(as_json.output)["signers"] == ["mine"]


def test_signing_again_keeps_one_envelope_and_the_receipt(run: Path, key_file: Path) -> None:
    before = (run / "receipt.json").read_bytes()
    for _ in range(2):
        assert said(sign.command, run / "receipt.json", "--key", key_file).exit_code == 0
    assert len(list((run / "signatures").iterdir())) == 1
    assert (run / "receipt.json").read_bytes() == before


def refused(run: Path, data: Path, policy: Path, *more: object) -> str:
    result = said(
        verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "--require-signature", *more
    )
    assert isinstance(result.exception, UserError), result.output
    assert result.exception.reason == "ReceiptUnsigned"
    assert result.exception.exit_code == 2
    assert "\n" not in result.exception.message
    return result.exception.message


def test_an_unsigned_run_is_refused_only_where_a_signature_is_required(
    run, data, key_file, policy_of
) -> None:
    policy = policy_of(loaded(key_file), role="User")
    assert "there is no envelope beside the receipt; sign it" in refused(run, data, policy)
    result = said(verify.command, run, *STEPS, "--policy", policy)
    assert result.exit_code == 0
    assert result.output.startswith("unsigned: 0 of 1 signatures")


def test_a_users_signature_is_not_the_operators(run, data, key_file, policy_of) -> None:
    said(sign.command, run, "--key", key_file)
    line = refused(run, data, policy_of(loaded(key_file), role="Operator"))
    assert "statement of role User, and the policy accepts Operator" in line
    assert loaded(key_file).public.key_id in line


def test_the_signatures_of_another_run_do_not_count(run, data, key_file, policy_of, tmp_path) -> None:
    said(sign.command, run, "--key", key_file)
    document = json.loads((run / "receipt.json").read_bytes())
    document["predicate"]["runDetails"]["seedbed_execution"]["attempts"] = 7
    from seedbed.receipts.receipt_statement import seal_of
    from seedbed_api.canonical_json import canonical_json

    byproducts = document["predicate"]["runDetails"]["byproducts"]
    byproducts[-1] = seal_of(document)
    (run / "receipt.json").write_bytes(canonical_json(document))
    assert "it is about receipt.json sha256:" in refused(run, data, policy_of(loaded(key_file), role="User"))


def test_the_operators_envelope_is_stored_beside_the_receipt(run, data, policy_of, tmp_path) -> None:
    receipt, key = read_receipt(run), a_key("ecdsa-p256")
    envelope = tmp_path / "operator.dsse.json"
    envelope.write_bytes(
        sign_payload(a_cluster_run(receipt.data, receipt.decided.run_id).payload, key) + b"\n"
    )
    policy = policy_of(key, more="namespaces: [vision]")
    apart = said(verify.command, run, *STEPS, "--policy", policy, "--signature", envelope)
    assert apart.output.startswith("signed: operator mine (sha256:")
    assert "TrainingJob vision/digits ran registry.example/seedbed@sha256:777" in apart.output
    assert said(sign.command, run, "--envelope", envelope).exit_code == 0
    result = said(verify.command, run, *STEPS, "--policy", policy, "--require-signature", "--dataset", data)
    assert result.exit_code == 0, result
    line = refused(run, data, policy_of(key, more="namespaces: [finance]"))
    assert "namespace vision is none of finance" in line


def test_an_envelope_of_another_run_is_not_stored(run, tmp_path) -> None:
    key = a_key()
    envelope = tmp_path / "other.json"
    envelope.write_bytes(sign_payload(a_cluster_run(b"{}", "sha256:" + "0" * 64).payload, key))
    result = said(sign.command, run, "--envelope", envelope)
    assert isinstance(result.exception, UserError)
    assert "give the envelope of this run" in result.exception.message
    assert not (run / "signatures").exists()


def test_a_thousand_files_of_others_hide_no_signature(run, data, key_file, policy_of) -> None:
    said(sign.command, run, "--key", key_file)
    for number in range(1000):
        (run / "signatures" / f"{number:064x}.dsse.json").write_bytes(b"{}")
    policy = policy_of(loaded(key_file), role="User")
    assert (
        said(
            verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "--require-signature"
        ).exit_code
        == 0
    )


@pytest.mark.parametrize(
    "damage", [b"", b"[" * 70_000, b"\0" * 100, b"x" * 2**22], ids=["empty", "deep", "zeros", "huge"]
)
def test_a_damaged_envelope_counts_as_none(run, data, key_file, policy_of, damage: bytes) -> None:
    said(sign.command, run, "--key", key_file)
    next((run / "signatures").iterdir()).write_bytes(damage)
    assert "an envelope " in refused(run, data, policy_of(loaded(key_file), role="User"))


def test_a_link_or_pipe_in_place_of_an_envelope_is_not_followed_for_ever(
    run, data, key_file, policy_of
) -> None:
    said(sign.command, run, "--key", key_file)
    envelope = next((run / "signatures").iterdir())
    envelope.unlink()
    os.mkfifo(envelope)
    line = refused(run, data, policy_of(loaded(key_file), role="User"))
    assert "signatures that the policy asks for" in line


WRONG = {
    "no policy": (["--require-signature"], "--require-signature: whose signature? give --policy FILE"),
    "no dataset": (
        ["--require-signature", "--policy", "{policy}"],
        "--dataset: is needed with --require-signature",
    ),
    "an envelope without a policy": (["--signature", "{policy}"], "--signature: counts only by a policy"),
    "no such policy": (["--policy", "/nowhere.yaml"], "is no regular file (got '/nowhere.yaml')"),
    "a policy that is a key": (["--policy", "{key}"], "signing.key: "),
    "no such envelope": (
        ["--policy", "{policy}", "--signature", "/nowhere"],
        "is no regular file (got '/nowhere')",
    ),
}


@pytest.mark.parametrize("narrative", WRONG)
def test_a_wrong_option_is_one_line(narrative: str, finished: Path, key_file: Path, policy_of) -> None:
    arguments, line = WRONG[narrative]
    places = {"policy": policy_of(loaded(key_file)), "key": key_file}
    result = said(verify.command, finished, *[argument.format(**places) for argument in arguments])
    assert isinstance(result.exception, UserError), result
    assert line in result.exception.message


@pytest.mark.parametrize("options", [[], ["--key", "{key}", "--envelope", "{key}"]], ids=["neither", "both"])
def test_sign_takes_a_key_or_an_envelope(finished: Path, key_file: Path, options: list[str]) -> None:
    result = said(sign.command, finished, *[option.format(key=key_file) for option in options])
    assert isinstance(result.exception, UserError)
    assert result.exception.message.startswith("--key: needed exactly where --envelope is not given")


def test_the_key_is_in_no_output_and_no_file_of_the_run(run: Path, key_file: Path) -> None:
    secret = key_file.read_text().splitlines()[1]
    shutil.copy(key_file, key_file.with_suffix(".copy"))
    result = said(sign.command, run, "--key", key_file)
    assert secret not in result.output
    for path in run.rglob("*"):
        assert not path.is_file() or secret.encode() not in path.read_bytes()


@pytest.fixture
def signed_model(run: Path, tmp_path: Path) -> tuple[Path, SigningKey]:
    """Return a run whose model folder is signed too, and the key."""
    pytest.importorskip("model_signing")
    (tmp_path / "p256.key").write_bytes(private_pem("ecdsa-p256"))
    result = said(sign.command, run, "--key", tmp_path / "p256.key")
    assert [line.rpartition(".")[2] for line in result.output.splitlines()] == ["json", "sig"], result
    return run, loaded(tmp_path / "p256.key")


def test_an_ecdsa_key_signs_the_model_folder_for_openssf_tools(
    signed_model, data, policy_of, tmp_path
) -> None:
    from model_signing import verifying

    run, key = signed_model
    policy = policy_of(key, role="User")
    result = said(verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "--require-signature")
    assert result.exit_code == 0, result
    (tmp_path / "key.pub").write_text(key.public_pem)
    bundle = next((run / "signatures").glob("*.model.sig"))
    verifying.Config().use_elliptic_key_verifier(public_key=tmp_path / "key.pub").verify(
        run / "model", bundle
    )


@pytest.mark.parametrize("damage", [b"", b"{}", b"[" * 1000], ids=["empty", "no bundle", "nested"])
def test_a_damaged_signature_of_the_model_is_refused(signed_model, policy_of, damage: bytes) -> None:
    run, key = signed_model
    next((run / "signatures").glob("*.model.sig")).write_bytes(damage)
    result = said(verify.command, run, *STEPS, "--policy", policy_of(key, role="User"))
    assert isinstance(result.exception, UserError), result
    assert result.exception.reason == "InvalidSignature"
    assert "does not match key mine" in result.exception.message
    assert "\n" not in result.exception.message


def test_a_model_file_that_was_exchanged_is_refused_before_anything_is_computed(
    signed_model, policy_of
) -> None:
    run, key = signed_model
    config = run / "model" / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    result = said(verify.command, run, *STEPS, "--policy", policy_of(key, role="User"))
    assert isinstance(result.exception, UserError), result
    assert result.exception.reason == "InvalidSignature"
