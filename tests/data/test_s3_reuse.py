"""Owners in one bucket: each reuses what it wrote, neither what the other wrote, and forged objects help nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from seedbed.runs.sealed_json import open_sealed, seal
from seedbed.storage import open_storage
from support.runs.command_line import Scene, Typed, dataset
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3


@pytest.fixture
def scene(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Scene:
    return Scene(folder=tmp_path, shared=dataset(tmp_path / "data"), capture=capfd)


@pytest.fixture
def as_user(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    def become(name: str) -> None:
        (scene.folder / name).mkdir(mode=0o700, exist_ok=True)
        monkeypatch.setenv("SEEDBED_OWNER_KEY", str(scene.folder / name / "owner.key"))

    return become


def reason(answer: Typed) -> str:
    assert answer.exit_code == 0, answer.stderr
    (found,) = {condition["reason"] for condition in answer.status["conditions"]}
    return found


def test_two_owners_share_a_bucket(scene: Scene, s3: Gateway, as_user: Callable[[str], None]) -> None:
    url, secret = f"{s3.bucket()}/runs", s3.secret(scene.folder / "secret")
    scene.job(output__uri=url)
    words = ("-o", "json", "--output-secret", secret)
    as_user("anna")
    first = scene.run(*words)
    assert reason(scene.run(*words)) == "AlreadyComputed"
    as_user("bert")
    other = scene.run(*words)
    assert reason(other) == "Trained"
    assert other.status["model"]["uri"].startswith(f"{url}/owners/")
    assert other.status["model"]["weightsDigest"] == first.status["model"]["weightsDigest"]
    assert reason(scene.run(*words)) == "AlreadyComputed"
    _forge_metrics(url, secret)
    as_user("anna")
    again = scene.run(*words)
    assert reason(again) == "Trained"
    assert again.status["metrics"] == first.status["metrics"]
    assert again.status["model"] == first.status["model"]


def _forge_metrics(url: str, secret: Path) -> None:
    """Write another accuracy into the result of the first owner, and seal it again."""
    store = open_storage(url, secret=secret)
    (path,) = (
        path for path in store.list("runs") if path.endswith("/result.json") and "/owners/" not in path
    )
    document = open_sealed(store.read(path))
    document["metrics"]["test/accuracy"] = "1"
    store.put(path, seal(document))
