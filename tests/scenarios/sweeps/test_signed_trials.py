"""spec.output.trust: Signed in a sweep: signed runs of others are its trials, unless rungs compare what nobody signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from seedbed_api.attestations.signing_keys import load_signing_key
from support.runs.command_line import Typed
from support.runs.sweep_commands import ASHA, Desk
from support.signing import a_policy, private_pem

TRIALS = 2


def become(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Be the user of a key of this name."""
    file = folder / f"key-{name}" / "owner.key"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    file.write_text(name * 20)
    file.chmod(0o600)
    monkeypatch.setenv("SEEDBED_OWNER_KEY", str(file))


def swept(desk: Desk, policy: Path, **changes: object) -> Typed:
    output = {"uri": str(desk.folder / "runs"), "trust": "Signed"}
    manifest = desk.manifest(maxTrialCount=TRIALS, training={"epochs": 2}, output=output, **changes)
    return desk.type("run", "-f", manifest, "--signature-policy", policy, "-o", "json")


def test_signed_runs_are_reused_as_trials_where_no_rung_compares_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, policy = desk.folder / "signing.key", desk.folder / "policy.yaml"
    key.write_bytes(private_pem())
    policy.write_text(
        a_policy(("anna", load_signing_key(key.read_bytes(), shown="key")), role="User"), encoding="utf-8"
    )
    become("anna", desk.folder, monkeypatch)
    first = desk.sweep(maxTrialCount=TRIALS, training={"epochs": 2})
    assert first.exit_code == 0, first.stderr
    for run in desk.runs():
        assert desk.type("sign", run.url.removeprefix("file://"), "--key", key).exit_code == 0

    become("bert", desk.folder, monkeypatch)
    again = swept(desk, policy)
    assert again.exit_code == 0, again.stderr
    assert again.status["bestTrial"] == first.status["bestTrial"]
    own = desk.folder / "runs" / "owners"
    assert not list(own.glob("*/runs/*/model")), "nothing was trained again"

    compared = swept(desk, policy, earlyStopping=ASHA)
    assert compared.exit_code == 0, compared.stderr
    assert list(own.glob("*/runs/*/model")), "a rung compares evaluations that are in no receipt"
