"""A whole `seedbed run` on a real S3 server: the digest of a local run, through outages, refused in one line."""

from __future__ import annotations

import json
import socket
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from seedbed.storage import open_storage
from support.datasets.tampering import CHANGES, load
from support.runs.command_line import Scene, Typed, dataset
from testbed.faults import Fault, FaultProxy
from testbed.gateway import Gateway

pytestmark = pytest.mark.s3

OUTAGE_SECONDS = 10


@pytest.fixture(scope="module")
def small_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("s3-training") / "data")


@pytest.fixture
def scene(small_data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Scene:
    return Scene(folder=tmp_path, shared=small_data, capture=capfd)


@pytest.fixture
def secret(s3: Gateway, tmp_path: Path) -> Path:
    return s3.secret(tmp_path / "secret")


@pytest.fixture
def bucket(s3: Gateway, secret: Path, small_data: Path) -> str:
    """A fresh bucket that holds the dataset."""
    url = s3.bucket()
    data = open_storage(f"{url}/data", secret=secret)
    for path in sorted(path for path in small_data.rglob("*") if path.is_file()):
        data.put(path.relative_to(small_data).as_posix(), path.read_bytes())
    return url


@pytest.fixture
def local_digest(scene: Scene) -> str:
    scene.job()
    return digest_of(scene.run("-o", "json"))


def in_bucket(scene: Scene, bucket: str) -> None:
    scene.job(dataset__uri=f"{bucket}/data", output__uri=f"{bucket}/runs")


def check_log(scene: Scene, bucket: str, secret: Path) -> None:
    """Check that the store has the log of the run, to its end."""
    told = scene.type("logs", f"{bucket}/runs", "tiny", "--secret", secret, "-o", "json")
    assert told.exit_code == 0, told.stderr
    steps = [json.loads(line).get("step") for line in told.stdout.splitlines()]
    assert steps[-1] == 6, told.stdout


def digest_of(answer: Typed, *, steps: int = 6) -> str:
    """Return the digest of a run that was computed now, all its steps."""
    assert answer.exit_code == 0, answer.stderr
    assert answer.status["progress"]["step"] == steps
    reasons = {condition["type"]: condition["reason"] for condition in answer.status["conditions"]}
    assert reasons["Complete"] == "Trained", "found instead of computed"
    return answer.status["model"]["weightsDigest"]


def test_credentials_from_files_give_the_digest_of_a_local_run(
    scene: Scene, local_digest: str, bucket: str, secret: Path
) -> None:
    in_bucket(scene, bucket)
    keys = ("--dataset-secret", secret, "--output-secret", secret)
    first = scene.run("-o", "json", *keys)
    assert digest_of(first) == local_digest
    again = scene.run("-o", "json", *keys)
    assert again.exit_code == 0, again.stderr
    assert {c["reason"] for c in again.status["conditions"]} == {"AlreadyComputed"}
    assert again.status["model"] == first.status["model"]
    check_log(scene, bucket, secret)


def test_credentials_from_the_environment_and_a_cache_give_the_same_digest(
    scene: Scene, local_digest: str, bucket: str, s3: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in s3.environment().items():
        monkeypatch.setenv(name, value)
    in_bucket(scene, bucket)
    cache = scene.folder / "cache"
    assert digest_of(scene.run("-o", "json", "--cache", cache)) == local_digest
    assert any(path.is_file() for path in cache.rglob("*")), "the cache was not used"


@pytest.mark.slow
def test_an_outage_of_ten_seconds_in_mid_run_costs_time_and_no_bit(
    scene: Scene, local_digest: str, bucket: str, s3: Gateway, s3_faults: FaultProxy
) -> None:
    secret = s3.secret(scene.folder / "through-proxy", AWS_ENDPOINT_URL=s3_faults.endpoint)
    began: list[float] = []

    def outage(line: str) -> Fault | None:
        if not began and line.startswith("PUT") and "/checkpoints/" in line:
            began.append(time.monotonic())
        out = began and time.monotonic() - began[0] < OUTAGE_SECONDS
        return Fault(kind="reset") if out else None

    s3_faults.decide = outage
    in_bucket(scene, bucket)
    answer = scene.run("-o", "json", "--dataset-secret", secret, "--output-secret", secret)
    assert digest_of(answer) == local_digest
    assert began, "the outage never came"
    assert time.monotonic() - began[0] >= OUTAGE_SECONDS, "the run ended before the outage did"
    check_log(scene, bucket, secret)


@pytest.mark.parametrize(
    "name", ["labels of two rows", "labels, row digests renewed", "an image", "the order of two shards"]
)
def test_a_dataset_that_somebody_changed_in_the_bucket_is_refused(
    scene: Scene, bucket: str, secret: Path, name: str
) -> None:
    data = scene.copied()
    digest = load(data)["digest"]
    change, says = CHANGES[name]
    change(data)
    store = open_storage(f"{bucket}/data", secret=secret)
    for path in (path for path in data.rglob("*") if path.is_file()):
        store.put(path.relative_to(data).as_posix(), path.read_bytes())
    scene.job(dataset__uri=f"{bucket}/data", dataset__digest=digest)
    answer = scene.run("--dataset-secret", secret, "--cache", scene.folder / "cache")
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert line.startswith("error: InvalidDataset: spec.dataset.uri: "), line
    assert [word for word in says if word not in line] == [], line


@pytest.mark.parametrize("role", ["dataset", "output"])
def test_wrong_keys_are_one_line_that_names_field_and_keys(
    scene: Scene, bucket: str, secret: Path, s3: Gateway, role: str
) -> None:
    wrong = s3.secret(scene.folder / "wrong", AWS_SECRET_ACCESS_KEY="not-the-key")
    secrets = {"dataset": secret, "output": secret} | {role: wrong}
    in_bucket(scene, bucket)
    answer = scene.run("--dataset-secret", secrets["dataset"], "--output-secret", secrets["output"])
    assert answer.exit_code == 2
    (line,) = answer.errors
    assert line.startswith(f"error: StorageDenied: spec.{role}.uri: access denied"), line
    assert "AWS_SECRET_ACCESS_KEY" in line
    assert "not-the-key" not in answer.stderr
    mended = scene.run("-o", "json", "--dataset-secret", secret, "--output-secret", secret)
    assert mended.exit_code == 0, mended.stderr


def test_a_bucket_that_is_not_there_is_one_line(scene: Scene, bucket: str, secret: Path) -> None:
    scene.job(dataset__uri=f"{bucket}/data", output__uri="s3://no-such-bucket/runs")
    answer = scene.run("--dataset-secret", secret, "--output-secret", secret)
    (line,) = answer.errors
    assert (answer.exit_code, "no such bucket" in line, "spec.output.uri" in line) == (2, True, True), line


def test_a_server_that_is_down_may_come_back_later(scene: Scene, s3: Gateway) -> None:
    with socket.socket() as taken:  # nobody else gets this port, and nobody listens
        taken.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
        secret = s3.secret(scene.folder / "down", AWS_ENDPOINT_URL=nobody)
        scene.job(output__uri="s3://bucket/runs")
        answer = scene.run("-o", "json", "--output-secret", secret)
    (line,) = answer.errors
    assert answer.exit_code == 75
    assert line.startswith("error: StorageUnavailable: s3://bucket/runs"), line
    assert {c["reason"] for c in answer.status["conditions"]} == {"StorageUnavailable"}


def test_tampered_shard_in_the_bucket_is_named(scene: Scene, bucket: str, secret: Path, s3: Gateway) -> None:
    data = open_storage(f"{bucket}/data", secret=secret)
    shard = next(path for path in data.list("shards") if "train" in path and ".index." not in path)
    content = bytearray(data.read(shard))
    content[len(content) // 2] ^= 1
    data.put(shard, bytes(content))
    in_bucket(scene, bucket)
    answer = scene.run("--dataset-secret", secret, "--output-secret", secret)
    (line,) = answer.errors
    assert answer.exit_code == 2
    assert Path(shard).name in line


def test_dataset_on_a_read_only_http_server_with_a_cache(
    scene: Scene, local_digest: str, small_data: Path, tmp_path: Path
) -> None:
    handler = partial(_Ranges, directory=str(small_data.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/{small_data.name}"
        scene.job(dataset__uri=url, output__uri=str(tmp_path / "other"))
        assert digest_of(scene.run("-o", "json", "--cache", tmp_path / "cache")) == local_digest
        scene.job(dataset__uri=url, output__uri=url)
        refused = scene.run()
        assert (refused.exit_code, len(refused.errors)) == (2, 1)
        assert "spec.output.uri: can be read, not written" in refused.stderr
    finally:
        server.shutdown()
        server.server_close()


class _Ranges(SimpleHTTPRequestHandler):
    """Python's server, which leaves out ranges, with them."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        path = Path(self.translate_path(self.path))
        if asked is None or not path.is_file():
            super().do_GET()
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        data = path.read_bytes()
        part = data[int(first) : int(last) + 1 if last else None]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        self.wfile.write(part)
