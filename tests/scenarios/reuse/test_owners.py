"""What a neighbour writes into a shared store is not believed, whatever it is; what is one's own is reused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.receipts import read_receipt
from seedbed_api.attestations.signing_keys import load_signing_key
from support.runs.command_line import Scene, Typed
from support.runs.forged_objects import forge_checkpoint, other_weights, reseal, rewrite
from support.signing import a_policy, a_self_signed, private_pem

ANNA, BERT = "a" * 40, "b" * 40


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what makes this process run as a user: one key each."""

    def become(key: str) -> None:
        file = tmp_path / f"keys-{key[0]}" / "owner.key"
        file.parent.mkdir(mode=0o700, exist_ok=True)
        if not file.exists():
            file.write_text(key)
            file.chmod(0o600)
        monkeypatch.setenv("SEEDBED_OWNER_KEY", str(file))

    become(ANNA)
    return become


def reason(answer: Typed) -> str:
    assert answer.exit_code == 0, answer.stderr
    (found,) = {condition["reason"] for condition in answer.status["conditions"]}
    return found


def model(answer: Typed) -> tuple[str, str]:
    """Return place and digest of a model."""
    return answer.status["model"]["uri"], answer.status["model"]["weightsDigest"]


def test_own_run_is_reused_and_that_of_a_neighbour_is_not(
    scene: Scene, user: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    scene.job()
    first = scene.run("-o", "json")
    assert reason(scene.run("-o", "json")) == "AlreadyComputed"
    user(BERT)
    other = scene.run("-o", "json")
    assert reason(other) == "Trained"
    assert model(other)[1] == model(first)[1]
    assert "/owners/" in model(other)[0]
    run = scene.run_folder()
    assert f"{run.as_uri()} is not reused: spec.output.trust is not Store" in caplog.text
    assert reason(scene.run("-o", "json")) == "AlreadyComputed"
    assert "refused" not in {path.name for path in run.iterdir()}, "a neighbour's folder is left alone"
    store = scene.run("-o", "json", "--set", "spec.output.trust=Store")
    assert (reason(store), model(store)) == ("AlreadyComputed", model(first))
    user(ANNA)
    assert model(scene.run("-o", "json")) == model(first)


def without_records(run: Path) -> None:
    """Make a folder what a version without owner records wrote."""
    (run / "owner.json").unlink()
    shutil.rmtree(run / "owners")


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "interrupted"])
def test_old_run_is_recognised_and_read_with_trust_in_the_store(
    scene: Scene, user: Callable[[str], None], caplog: pytest.LogCaptureFixture, finished: bool
) -> None:
    scene.job()
    scene.run()
    run = scene.run_folder()
    without_records(run)
    if not finished:
        for name in ("result.json", "receipt.json", "outcome.json"):
            (run / name).unlink()
    assert reason(scene.run("-o", "json")) == "Trained"
    assert "or a version without owner records" in caplog.text
    assert "to reuse it all the same: spec.output.trust: Store" in caplog.text
    answer = scene.run("-o", "json", "--set", "spec.output.trust=Store")
    assert reason(answer) == ("AlreadyComputed" if finished else "Trained")
    if not finished:
        assert "continues from the checkpoint of step 6" in answer.stderr


def open_again(run: Path) -> None:
    """Take the end of a run away."""
    for name in ("result.json", "receipt.json", "outcome.json"):
        (run / name).unlink()
    shutil.rmtree(run / "model")


@pytest.mark.parametrize(
    ("part", "witness_too", "says"),
    [
        ("model", False, "no owner record of yours vouches for it"),
        ("model", True, "no owner record of yours vouches for it"),
        ("optimizer", False, "no owner record of yours vouches for it"),
    ],
    ids=["tensors", "tensors and witness", "optimizer"],
)
def test_checkpoint_that_was_sealed_again_is_not_continued(
    scene: Scene,
    user: Callable[[str], None],
    caplog: pytest.LogCaptureFixture,
    part: str,
    witness_too: bool,
    says: str,
) -> None:
    momentum = {"type": "SGD", "learningRate": "0.05", "sgd": {"momentum": "0.9"}}
    scene.job(training__optimizer=momentum)
    whole = scene.run("-o", "json")
    run = scene.run_folder()
    open_again(run)
    (run / "checkpoints/6.json").unlink()
    forge_checkpoint(run, 4, part=part, witness_too=witness_too)
    answer = scene.run("-o", "json")
    assert f"checkpoints/4.json: spec.output.trust is not Store, and {says}" in caplog.text
    assert model(answer) == model(whole)
    assert reason(scene.run("-o", "json")) == "AlreadyComputed"


def evaluations_of_others(run: Path) -> None:
    """Exchange an evaluation and the last checkpoint's digest over it: without the owner this agrees."""
    reseal(
        run / "evaluations/test-6.json", lambda record: record["document"].update(confusion=[[9, 0, 0]] * 3)
    )


FORGED: dict[str, Callable[[Path], None]] = {
    "owner record of another key": lambda run: _records_of(run, BERT),
    "owner record of another run": lambda run: _records_for(run, f"sha256:{'1' * 64}"),
    "record cut off": lambda run: rewrite(_record(run), _record(run).read_bytes()[:40]),
    "record gone": lambda run: _record(run).unlink(),
    "test evaluation": evaluations_of_others,
}


def _record(run: Path) -> Path:
    (found,) = run.glob("owners/*/result.json")
    return found


def _records_of(run: Path, key: str) -> None:
    from seedbed.runs.owner_records import Owner
    from seedbed.storage import open_storage

    document = json.loads(_record(run).read_bytes())
    other = open_storage(str(run / "elsewhere"))
    Owner(key=key.encode()).vouch(other, "result", subject=document["subject"], digest=document["digest"])
    (written,) = (run / "elsewhere").rglob("result.json")
    rewrite(_record(run), written.read_bytes())
    shutil.rmtree(run / "elsewhere")


def _records_for(run: Path, subject: str) -> None:
    document = json.loads(_record(run).read_bytes())
    rewrite(_record(run), json.dumps({**document, "subject": subject}, separators=(",", ":")).encode())


@pytest.mark.parametrize("name", FORGED)
def test_result_that_its_owner_does_not_vouch_for_is_computed_again(
    scene: Scene, user: Callable[[str], None], name: str
) -> None:
    scene.job()
    whole = scene.run("-o", "json")
    FORGED[name](scene.run_folder())
    answer = scene.run("-o", "json")
    assert "is not used and is computed again" in answer.stderr
    assert (reason(answer), model(answer)) == ("Trained", model(whole))
    assert answer.status["metrics"] == whole.status["metrics"]
    assert reason(scene.run("-o", "json")) == "AlreadyComputed"


def test_neighbour_cannot_hold_a_folder_for_ever(scene: Scene, user: Callable[[str], None]) -> None:
    scene.job()
    scene.run()
    run = scene.run_folder()
    user(BERT)
    scene.run()
    (own,) = scene.runs.glob("owners/*/runs/*")
    rewrite(own / "owner.json", (run / "owner.json").read_bytes())
    answer = scene.run("-o", "json")
    (line,) = [line for line in answer.errors if line.startswith("error: ")]
    assert line.startswith("error: OutputNotOwned: spec.output.uri: "), line
    assert [word for word in (own.as_uri(), "set another spec.output.uri") if word not in line] == []
    assert answer.exit_code == 2


SIGNED = ("--set", "spec.output.trust=Signed")


def test_signed_believes_nothing_of_others_without_a_policy(
    scene: Scene, user: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    scene.job()
    scene.run()
    user(BERT)
    assert reason(scene.run("-o", "json", *SIGNED)) == "Trained"
    assert "there is no policy of accepted signers" in caplog.text
    assert reason(scene.run("-o", "json", *SIGNED)) == "AlreadyComputed", "one's own needs no signature"


@pytest.mark.parametrize("signer", ["accepted", "another", "accepted, and another model"])
def test_signed_reuses_what_an_accepted_signer_vouches_for(
    scene: Scene, user: Callable[[str], None], signer: str
) -> None:
    keys = {name: scene.folder / f"{name}.pem" for name in ("accepted", "another")}
    for file in keys.values():
        file.write_bytes(private_pem())
    accepted = load_signing_key(keys["accepted"].read_bytes(), shown="key")
    policy = scene.folder / "policy.yaml"
    policy.write_text(a_policy(("anna", accepted), role="User"))
    scene.job()
    first = scene.run("-o", "json")
    run = scene.run_folder()
    assert scene.type("sign", run, "--key", keys[signer.partition(",")[0]]).exit_code == 0
    if signer.endswith("model"):
        rewrite(run / "model/model.safetensors", other_weights(run / "model/model.safetensors"))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    user(BERT)
    answer = scene.run("-o", "json", *SIGNED, "--signature-policy", policy)
    assert reason(answer) == ("AlreadyComputed" if signer == "accepted" else "Trained")
    assert model(answer)[1] == model(first)[1]
    assert ("/owners/" in model(answer)[0]) == (signer != "accepted")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("subject", ["anna@example.com", "*@example.com", "carla@example.com"])
def test_signed_reuses_what_an_accepted_identity_vouches_for(
    scene: Scene, user: Callable[[str], None], subject: str
) -> None:
    pytest.importorskip("sigstore", reason="not run: seedbed[sign] is not installed")
    from support.sigstore_instance import ISSUER, SigstoreInstance

    instance, policy = SigstoreInstance(), scene.folder / "policy.yaml"
    (scene.folder / "trusted_root.json").write_bytes(instance.trusted_root())
    entry = {"issuer": ISSUER, "subject": subject, "trustedRoot": "trusted_root.json"}
    policy.write_text(json.dumps({"identities": [entry]}))
    scene.job()
    first = scene.run("-o", "json")
    receipt = read_receipt(scene.run_folder())
    payload = a_self_signed(receipt.data, receipt.decided.run_id).payload
    bundle = scene.folder / "bundle.json"
    bundle.write_bytes(instance.bundle(payload, subject="anna@example.com"))
    assert scene.type("sign", scene.run_folder(), "--envelope", bundle).exit_code == 0
    user(BERT)
    answer = scene.run("-o", "json", *SIGNED, "--signature-policy", policy)
    assert reason(answer) == ("Trained" if subject.startswith("carla") else "AlreadyComputed")
    assert model(answer)[1] == model(first)[1]


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda file: file.write_text("short"), "has 5 bytes"),
        (lambda file: (file.write_text("k" * 40), file.chmod(0o644)), "is not a file that only you can read"),
        (lambda file: file.mkdir(), "is not a file that only you can read"),
        (lambda file: file.symlink_to("/etc/hostname"), "is not a file that only you can read"),
    ],
    ids=["short", "open to others", "folder", "link"],
)
def test_key_that_is_no_secret_is_refused_by_name(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], problem: str
) -> None:
    folder = scene.folder / "keys"
    folder.mkdir(mode=0o700)
    make(folder / "owner.key")
    if (folder / "owner.key").is_file() and problem.startswith("has"):
        (folder / "owner.key").chmod(0o600)
    monkeypatch.setenv("SEEDBED_OWNER_KEY", str(folder / "owner.key"))
    scene.job()
    answer = scene.run()
    (line,) = answer.errors
    assert line.startswith("error: OwnerKeyUnreadable: key of the output's owner: "), line
    assert [word for word in (problem, f"{folder}/owner.key", "SEEDBED_OWNER_KEY") if word not in line] == []
    assert answer.exit_code == 2
