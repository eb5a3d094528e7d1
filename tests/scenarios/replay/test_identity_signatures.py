"""`seedbed sign --identity-token` and `seedbed verify` by identity, with a Sigstore instance on this machine."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sigstore", reason="not run: seedbed[sign] is not installed")

from click.testing import CliRunner, Result

from seedbed.cli import sign, verify
from seedbed.receipts import identity_signing, read_receipt
from seedbed.receipts.identity_signatures import Identity
from seedbed_api.errors import InfrastructureError, SeedbedError, UserError
from support.servers.sigstore_server import SigstoreServer, a_token, sigstore_server
from support.signing import a_self_signed
from support.sigstore_instance import ISSUER, SUBJECT, SigstoreInstance

STEPS = ("--from-step", 6, "--to-step", 7)


def said(command, *arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner(env=env).invoke(command, [str(argument) for argument in arguments])


@pytest.fixture
def sigstore(tmp_path: Path) -> Iterator[SigstoreServer]:
    """Return a running instance; its files and a token are in the folder of the test."""
    with sigstore_server() as server:
        (tmp_path / "signing_config.json").write_bytes(server.signing_config())
        (tmp_path / "trusted_root.json").write_bytes(server.instance.trusted_root())
        (tmp_path / "token").write_text(a_token() + "\n")
        yield server


@pytest.fixture
def signed(tmp_path: Path) -> Callable[..., Result]:
    def call(run: Path, env: dict[str, str] | None = None, **options: object) -> Result:
        usual = {
            "identity-token": tmp_path / "token",
            "signing-config": tmp_path / "signing_config.json",
            "trusted-root": tmp_path / "trusted_root.json",
        }
        flags = [part for name, value in {**usual, **options}.items() for part in (f"--{name}", value)]
        return said(sign.command, run, *flags, env=env)

    return call


@pytest.fixture
def policy(tmp_path: Path) -> Callable[..., Path]:
    def write(**changes: Any) -> Path:
        entry = {"issuer": ISSUER, "subject": SUBJECT, "trustedRoot": "trusted_root.json", **changes}
        (tmp_path / "policy.yaml").write_text(json.dumps({"identities": [entry]}))
        return tmp_path / "policy.yaml"

    return write


def accepted(run: Path, data: Path, policy: Path, *more: object) -> Result:
    return said(
        verify.command, run, *STEPS, "--dataset", data, "--policy", policy, "--require-signature", *more
    )


def refused(run: Path, data: Path, policy: Path, *more: object) -> str:
    result = accepted(run, data, policy, *more)
    assert isinstance(result.exception, UserError), result.output
    assert result.exception.reason == "ReceiptUnsigned"
    assert "\n" not in result.exception.message
    return result.exception.message


def stored(run: Path) -> Path:
    (bundle,) = (run / "signatures").iterdir()
    return bundle


def test_who_a_token_names_signs_a_run_and_a_policy_accepts_them(
    sigstore: SigstoreServer, run: Path, data: Path, signed, policy
) -> None:
    before = (run / "receipt.json").read_bytes()
    result = signed(run)
    assert result.exit_code == 0, result
    name = Identity(ISSUER, SUBJECT).file_name
    assert result.output == f"signer: {SUBJECT} of {ISSUER}\nsigned: file://{run}/signatures/{name}\n"
    assert (run / "receipt.json").read_bytes() == before
    verified = accepted(run, data, policy())
    assert verified.exit_code == 0, verified
    assert verified.output.startswith(f"signed: user {SUBJECT} ({ISSUER}), who vouches for it\n")
    by_pattern = policy(subject=SUBJECT.replace("trainer", "*"))
    as_json = said(verify.command, run, *STEPS, "--policy", by_pattern, "-o", "json")
    assert json.loads(as_json.output)["signers"] == [SUBJECT]
    assert len(sigstore.seen) == 2, "verification asks nobody"
    for other in (policy(subject=f"{SUBJECT}s"), policy(issuer="https://issuer.example")):
        assert "0 of 1 signatures" in refused(run, data, other)


def test_a_token_comes_from_an_environment_variable_and_is_kept_nowhere(
    sigstore, run, signed, tmp_path
) -> None:
    token = a_token()
    result = signed(run, {"CI_TOKEN": token}, **{"identity-token": "env:CI_TOKEN"})
    assert result.exit_code == 0, result
    assert token not in result.output
    assert not [path for path in run.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]


def test_verification_needs_no_service(sigstore, run, data, signed, policy) -> None:
    assert signed(run).exit_code == 0
    sigstore.faults = {"": 500}
    assert accepted(run, data, policy()).exit_code == 0
    assert len(sigstore.seen) == 2


WRONG_TOKENS: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"exp": 1}, "Signature has expired"),
    "for another audience": ({"aud": "https://kubernetes.default.svc"}, "Audience doesn't match"),
    "without an issuer": ({"iss": None}, 'missing the "iss" claim'),
    "without a subject": ({"sub": None}, 'missing the "sub" claim'),
}


@pytest.mark.parametrize("narrative", WRONG_TOKENS)
def test_a_token_that_cannot_be_used_is_refused_before_anybody_is_asked(
    sigstore: SigstoreServer, finished: Path, signed, tmp_path: Path, narrative: str
) -> None:
    claims, problem = WRONG_TOKENS[narrative]
    token = a_token(**claims)
    (tmp_path / "token").write_text(token)
    result = signed(finished)
    line = one_line(result, UserError, "InvalidIdentityToken")
    assert line.startswith("--identity-token: ")
    assert problem in line
    assert token not in line
    assert sigstore.seen == []


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "holds no token"),
        ("abc", "is no token of OpenID Connect"),
        ("x" * 2**17, "more than 65536 bytes"),
    ],
    ids=["empty", "other text", "huge"],
)
def test_a_file_without_a_token_is_refused(sigstore, finished, signed, tmp_path, content, problem) -> None:
    (tmp_path / "token").write_text(content)
    assert problem in one_line(signed(finished), UserError, "InvalidIdentityToken")


@pytest.mark.parametrize(
    ("options", "reason", "problem"),
    [
        ({"identity-token": "/nowhere"}, "InvalidIdentityToken", "is no regular file (got '/nowhere')"),
        ({"identity-token": "env:NOT_SET"}, "InvalidIdentityToken", "holds no token (got 'env:NOT_SET')"),
        ({"signing-config": "/nowhere"}, "InvalidSigningConfig", "--signing-config: is no regular file"),
        ({"signing-config": "{folder}/trusted_root.json"}, "InvalidSigningConfig", "is no signing config"),
        ({"signing-config": "{folder}/plain.json"}, "InvalidSigningConfig", "is not https"),
        ({"trusted-root": "/nowhere"}, "InvalidPolicy", "--trusted-root: is no regular file"),
        ({"trusted-root": "{folder}/token"}, "InvalidPolicy", "--trusted-root: is no trusted root"),
    ],
)
def test_a_wrong_file_is_one_line(sigstore, finished, signed, tmp_path, options, reason, problem) -> None:
    (tmp_path / "plain.json").write_bytes(sigstore.signing_config("http://fulcio.example"))
    result = signed(finished, **{name: value.format(folder=tmp_path) for name, value in options.items()})
    assert problem in one_line(result, UserError, reason)
    assert sigstore.seen == [], "no token was sent"


def one_line(result: Result, kind: type[SeedbedError], reason: str) -> str:
    error = result.exception
    assert isinstance(error, kind), result
    assert error.reason == reason
    assert "\n" not in error.message
    return error.message


def test_an_authority_that_refuses_a_token_is_named(sigstore, finished, signed, tmp_path) -> None:
    (tmp_path / "token").write_text(a_token("a secret of somebody else, of thirty bytes or more"))
    line = one_line(signed(finished), UserError, "SigningRefused")
    assert f"{sigstore.url}/api/v2/signingCert refused it with HTTP 401" in line


@pytest.mark.parametrize("path", ["signingCert", "entries"])
def test_a_service_that_fails_may_be_asked_again(sigstore, run, signed, path: str) -> None:
    sigstore.faults = {path: 503}
    line = one_line(signed(run), InfrastructureError, "SigstoreUnavailable")
    assert line.endswith("try again later")
    assert not (run / "signatures").exists()


def test_a_service_that_is_not_there_or_silent_may_be_asked_again(
    sigstore, finished, signed, tmp_path, monkeypatch
) -> None:
    (tmp_path / "gone.json").write_bytes(sigstore.signing_config("http://127.0.0.1:1"))
    gone = signed(finished, **{"signing-config": tmp_path / "gone.json"})
    one_line(gone, InfrastructureError, "SigstoreUnavailable")
    monkeypatch.setattr(identity_signing, "PATIENCE_SECONDS", 0.2)
    sigstore.delay_seconds = 2
    line = one_line(signed(finished), InfrastructureError, "SigstoreUnavailable")
    assert "did not answer within 0.2 s" in line


def test_what_an_instance_signs_that_is_not_the_trusted_one_is_not_stored(
    sigstore, run, signed, tmp_path
) -> None:
    other = SigstoreInstance("other")
    other.ct_key = sigstore.instance.ct_key  # so that the certificate itself passes
    (tmp_path / "other.json").write_bytes(other.trusted_root())
    result = signed(run, **{"trusted-root": tmp_path / "other.json"})
    assert "does not verify" in one_line(result, UserError, "InvalidSignature")
    assert not (run / "signatures").exists()


OPTIONS = {
    "two ways": ["--key", "x", "--identity-token", "x"],
    "a token without an instance": ["--identity-token", "x"],
    "a token without a root": ["--identity-token", "x", "--signing-config", "x"],
    "an instance without a token": ["--key", "x", "--signing-config", "x"],
    "a root without a token": ["--envelope", "x", "--trusted-root", "x"],
}


@pytest.mark.parametrize("narrative", OPTIONS)
def test_options_that_do_not_belong_together_are_refused(finished: Path, narrative: str) -> None:
    line = one_line(said(sign.command, finished, *OPTIONS[narrative]), UserError, "InvalidOption")
    assert line.startswith("--")


def bundle_for(run: Path, instance: SigstoreInstance, **certificate: Any) -> bytes:
    receipt = read_receipt(run)
    return instance.bundle(a_self_signed(receipt.data, receipt.decided.run_id).payload, **certificate)


def test_a_bundle_of_another_tool_is_read_apart_or_stored(sigstore, run, data, policy, tmp_path) -> None:
    bundle = tmp_path / "bundle.sigstore.json"
    bundle.write_bytes(bundle_for(run, sigstore.instance) + b"\n")
    assert accepted(run, data, policy(), "--signature", bundle).exit_code == 0
    assert not (run / "signatures").exists()
    assert said(sign.command, run, "--envelope", bundle).exit_code == 0
    assert stored(run).name == Identity(ISSUER, SUBJECT).file_name
    assert accepted(run, data, policy()).exit_code == 0


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b'{"verificationMaterial": 1}', "is no Sigstore bundle of version 0.3"),
        (b'{"verificationMaterial": ' + b"x" * 2**20, "more than 262144 bytes"),
        (None, "is about receipt.json sha256:"),
    ],
    ids=["no bundle", "huge", "of another run"],
)
def test_a_bundle_that_is_not_of_this_run_is_not_stored(
    run, tmp_path, content: bytes | None, problem: str
) -> None:
    payload = a_self_signed(b"{}", "sha256:" + "0" * 64).payload
    (tmp_path / "bundle").write_bytes(content or SigstoreInstance().bundle(payload))
    line = one_line(said(sign.command, run, "--envelope", tmp_path / "bundle"), UserError, "InvalidSignature")
    assert problem in line
    assert not (run / "signatures").exists()


@pytest.mark.parametrize("pattern", [False, True], ids=["by name", "by pattern"])
@pytest.mark.parametrize(
    "damage", [b"", b"{", b"\0" * 100, b"[" * 60_000], ids=["empty", "cut", "zeros", "deep"]
)
def test_a_damaged_bundle_counts_as_none(run, data, policy, tmp_path, damage: bytes, pattern: bool) -> None:
    (tmp_path / "trusted_root.json").write_bytes(SigstoreInstance().trusted_root())
    (run / "signatures").mkdir()
    (run / "signatures" / Identity(ISSUER, SUBJECT).file_name).write_bytes(damage)
    line = refused(run, data, policy(**({"subject": SUBJECT.replace("trainer", "*")} if pattern else {})))
    assert "an envelope is no JSON" in line


@pytest.mark.parametrize("pattern", [False, True], ids=["by name", "by pattern"])
def test_a_bundle_of_100_megabytes_is_not_read_whole(run, data, policy, tmp_path, pattern: bool) -> None:
    (tmp_path / "trusted_root.json").write_bytes(SigstoreInstance().trusted_root())
    (run / "signatures").mkdir()
    with (run / "signatures" / Identity(ISSUER, SUBJECT).file_name).open("wb") as file:
        file.write(b'{"verificationMaterial": "')
        file.truncate(100 * 2**20)
    line = refused(run, data, policy(**({"subject": SUBJECT.replace("trainer", "*")} if pattern else {})))
    assert "a bundle has more than 262144 bytes" in line
    elsewhere = refused(
        run, data, policy(), "--signature", run / "signatures" / Identity(ISSUER, SUBJECT).file_name
    )
    assert "a bundle has more than 262144 bytes" in elsewhere


def test_a_thousand_files_of_others_hide_no_bundle(sigstore, run, data, policy) -> None:
    (run / "signatures").mkdir()
    for number in range(1000):
        (run / "signatures" / f"{number:064x}.sigstore.json").write_bytes(b"{}")
    (run / "signatures" / Identity(ISSUER, SUBJECT).file_name).write_bytes(bundle_for(run, sigstore.instance))
    assert accepted(run, data, policy()).exit_code == 0
