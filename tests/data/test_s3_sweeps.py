"""A sweep whose runs, record and page lie on a real S3 server: killed, continued, found again, as on a disk."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from seedbed.storage import Storage, open_storage
from support.eventually import LiveProcess, eventually
from support.runs.command_line import dataset
from support.runs.sweep_commands import STEPS, Desk, a_sweep
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3

EPOCHS = 20
CHANGES: dict[str, Any] = {"maxTrialCount": 2, "training": {"epochs": EPOCHS}}


@pytest.fixture
def desk(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Desk:
    return Desk(folder=tmp_path, data=dataset(tmp_path / "data", train=8, validation=4), capture=capfd)


def wait_for_a_checkpoint(store: Storage, process: subprocess.Popen[bytes]) -> None:
    eventually(
        lambda: [path for path in store.list("runs") if "/checkpoints/" in path],
        what="a checkpoint",
        seconds=300,
        every=0.02,
        servers=(LiveProcess("the sweep", process),),
    )


def ledger_of(store: Storage) -> bytes:
    (path,) = ledgers(store)
    return store.read(path)


def ledgers(store: Storage) -> list[str]:
    """Return the records of sweeps; those of their owners lie below."""
    return [path for path in store.list("sweeps") if PurePosixPath(path).match("sweeps/*/ledger.json")]


def test_a_sweep_on_s3_is_killed_continued_and_found_again(desk: Desk, s3: Gateway) -> None:
    local = desk.sweep("local", **CHANGES)
    assert local.exit_code == 0, local.stderr
    assert desk.steps("local") == 2 * EPOCHS * STEPS
    secret, url = s3.secret(desk.folder / "secret"), f"{s3.bucket()}/runs"
    store = open_storage(url, secret=secret)
    document = a_sweep(desk.data, desk.folder, **CHANGES)
    document["spec"]["output"] = {"uri": url}
    manifest = desk.folder / "s3.json"
    manifest.write_text(json.dumps(document), encoding="utf-8")
    words = ("run", "-f", str(manifest), "--output-secret", str(secret), "-o", "json")
    process = subprocess.Popen(
        [sys.executable, "-m", "seedbed.cli", *words],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ,
    )
    wait_for_a_checkpoint(store, process)
    process.kill()
    process.wait()
    assert not ledgers(store)
    continued = desk.type(*words)
    assert continued.exit_code == 0, continued.stderr
    assert continued.status["conditions"][0]["reason"] == "Trained"
    assert ledger_of(store) == ledger_of(open_storage(str(desk.folder / "local")))
    assert any(path.endswith("/report.html") for path in store.list("sweeps"))
    again = desk.type(*words)
    assert again.status["conditions"][0]["reason"] == "AlreadyComputed"
    assert again.status["ledger"] == continued.status["ledger"]
