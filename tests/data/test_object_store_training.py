"""A dataset built into each kind of store and trained from there: one digest with a local run, killed and resumed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from seedbed.storage import Storage, open_storage
from seedbed.storage.secret_folder import STORE_KEYS
from support.runs.command_line import Scene, Typed, images
from testbed.store_server import StoreServer

pytestmark = pytest.mark.s3


@pytest.fixture(
    params=["gs", *(pytest.param(scheme, marks=pytest.mark.exhaustive) for scheme in ("az", "webhdfs"))]
)
def server(request: pytest.FixtureRequest, running: dict[str, StoreServer]) -> StoreServer:
    """One kind every day, as the tests of the stores themselves go through all."""
    return running[request.param]


@pytest.fixture
def scene(
    server: StoreServer, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Scene:
    """A desk whose environment has the keys of the store alone."""
    for name in STORE_KEYS:
        monkeypatch.delenv(name, raising=False)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    return Scene(folder=tmp_path, shared=tmp_path / "local", capture=capfd)


def digest_of(answer: Typed, reason: str = "Trained") -> str:
    assert answer.exit_code == 0, answer.stderr
    reasons = {condition["type"]: condition["reason"] for condition in answer.status["conditions"]}
    assert reasons["Complete"] == reason
    return str(answer.status["model"]["weightsDigest"])


def built(scene: Scene, url: str) -> None:
    """Build one dataset into a folder and into the store."""
    pictures = images(scene.folder / "pictures")
    for place in (scene.shared, url):
        done = scene.type(
            "dataset", "build", pictures, place, "--shard-bytes", "4000", "--batch-bytes", "1000"
        )
        assert done.exit_code == 0, done.stderr
    shown = [scene.type("dataset", "show", place, "-o", "json") for place in (scene.shared, url)]
    assert shown[0].status["digest"] == shown[1].status["digest"]


def test_a_run_in_the_store_is_the_run_of_a_disk(scene: Scene, server: StoreServer) -> None:
    url = server.bucket()
    built(scene, f"{url}/data")
    scene.job()
    local = digest_of(scene.run("-o", "json"))
    scene.job(dataset__uri=f"{url}/data", output__uri=f"{url}/runs")
    assert digest_of(scene.run("-o", "json", "--cache", scene.folder / "cache")) == local
    assert digest_of(scene.run("-o", "json"), "AlreadyComputed") == local
    listed = scene.type("runs", "list", f"{url}/runs", "-o", "json")
    assert listed.exit_code == 0, listed.stderr
    told = scene.type("logs", f"{url}/runs", "tiny", "-o", "json")
    assert json.loads(told.stdout.splitlines()[-1])["step"] == 6
    store = open_storage(f"{url}/runs")
    (receipt,) = (path for path in store.list() if path.endswith("/receipt.json"))
    verified = scene.type("verify", f"{url}/runs/{receipt}")
    assert verified.exit_code == 0, verified.stderr
    pruned = scene.type("runs", "prune", f"{url}/runs", receipt.split("/")[1], "--yes")
    assert pruned.exit_code == 0, pruned.stderr
    assert not [path for path in store.list() if path.endswith("/receipt.json")]


@pytest.mark.exhaustive
def test_a_killed_run_resumes_from_the_store_to_the_same_digest(scene: Scene, server: StoreServer) -> None:
    url = server.bucket()
    built(scene, f"{url}/data")
    changes = {"training__steps": 40, "checkpoint__everySteps": 1}
    scene.job(**changes)
    local = digest_of(scene.run("-o", "json"))
    scene.job(dataset__uri=f"{url}/data", output__uri=f"{url}/runs", **changes)
    command = [sys.executable, "-m", "seedbed.cli", "run", "-f", str(scene.manifest)]
    process = subprocess.Popen(command, env=os.environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _await_checkpoint(open_storage(f"{url}/runs"), process)
    process.kill()
    process.wait()
    resumed = scene.run("-o", "json")
    assert digest_of(resumed) == local
    assert resumed.status["progress"]["step"] == 40


def _await_checkpoint(store: Storage, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 300
    while not any("/checkpoints/" in path for path in store.list()):
        assert process.poll() is None, "the run ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("server", ["gs", pytest.param("az", marks=pytest.mark.exhaustive)], indirect=True)
@pytest.mark.parametrize("role", ["dataset", "output"])
def test_a_missing_bucket_is_one_line(scene: Scene, server: StoreServer, role: str) -> None:
    url = server.bucket()
    built(scene, f"{url}/data")
    missing = f"{url[:-1]}-missing"
    places = {"dataset": f"{url}/data", "output": f"{url}/runs"} | {role: f"{missing}/x"}
    scene.job(dataset__uri=places["dataset"], output__uri=places["output"])
    answer = scene.run()
    (line,) = answer.errors
    assert answer.exit_code == 2
    assert line.startswith(f"error: StorageNotFound: spec.{role}.uri: "), line
