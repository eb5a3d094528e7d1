"""A secret put wherever a secret may be: no command, however it fails, prints it or writes it anywhere."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from support.runs.command_line import Scene, Typed
from support.servers.range_server import RangeHandler

CANARY = "c4n4ry-5ecret"
CLOSED = "http://127.0.0.1:9"
"""Where nothing listens."""

pytestmark = pytest.mark.timeout(300)


class Answering(RangeHandler):
    """Serves files, and other answers by the first folder of the path."""

    def do_GET(self) -> None:  # noqa: N802 - a name of http.server
        status = self.path.split("/")[1].partition("?")[0]
        if status.isdecimal():
            self.send_response(int(status), f"no {CANARY}")
            self.send_header("Location", f"http://169.254.169.254/?sig={CANARY}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.path = self.path.partition("?")[0]
        super().do_GET()

    do_HEAD = do_GET  # noqa: N815 - a name of http.server


@pytest.fixture
def server(small_data: Path, tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    shutil.copytree(small_data, tmp_path / "served/data")
    handler = partial(Answering, directory=str(tmp_path / "served"))
    listening = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}"
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    folder = tmp_path / "secret"
    folder.mkdir()
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "HTTP_BEARER_TOKEN"):
        (folder / name).write_text(CANARY)
    (folder / "AWS_ENDPOINT_URL").write_text(f"http://user:{CANARY}@127.0.0.1:9/?{CANARY}")
    return folder


def require_silence(scene: Scene, done: Typed) -> None:
    assert CANARY not in done.stdout + done.stderr
    ours = (scene.manifest, scene.folder / "secret")
    files = [path for path in scene.folder.rglob("*") if path.is_file()]
    told = [path for path in files if CANARY.encode() in path.read_bytes()]
    assert [path for path in told if path not in ours and ours[1] not in path.parents] == []


PLACES = {
    "a query": "{server}/nothing?sig={canary}",
    "a user": "http://user:{canary}@127.0.0.1:9/data",
    "a user without a password": "http://{canary}@127.0.0.1:9/data",
    "a fragment": "{server}/nothing#{canary}",
    "a signed URL that is denied": "{server}/403/data?sig={canary}",
    "a signed URL that has expired": "{server}/400/data?sig={canary}",
    "a redirect": "{server}/302/data?sig={canary}",
    "nobody listens": "http://127.0.0.1:9/data?sig={canary}",
    "no port": "http://user:{canary}@127.0.0.1:99999/data?{canary}",
    "no host": "http://?{canary}",
    "no scheme that is known": "gopher://user:{canary}@host/data?{canary}",
    "a bucket": "s3://user:{canary}@bucket/data?{canary}",
    "a container": "az://{canary}@container/data?{canary}",
    "a name node": "webhdfs://{canary}@127.0.0.1:9/data?{canary}",
}
COMMANDS: dict[str, tuple[str, ...]] = {
    "run, dataset": ("run", "-f", "{job}", "--dataset", "{url}"),
    "run, output": ("run", "-f", "{job}", "--output", "{url}"),
    "run, status": ("run", "-f", "{job}", "--dataset", "{url}", "-o", "json"),
    "dataset show": ("dataset", "show", "{url}"),
    "dataset check": ("dataset", "check", "{url}"),
    "dataset build": ("dataset", "build", "{url}", "{folder}/built"),
    "dataset build to": ("dataset", "build", "{folder}", "{url}"),
    "dataset export": ("dataset", "export", "{url}", "{folder}/exported"),
    "runs list": ("runs", "list", "{url}"),
    "runs prune": ("runs", "prune", "{url}", "--yes"),
    "logs": ("logs", "{url}", "tiny"),
    "verify": ("verify", "{url}"),
    "diff": ("diff", "{url}", "{url}"),
    "top": ("top", "--store", "{url}", "--once"),
}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a store that does not answer once: the message is the same after six times."""
    monkeypatch.setattr("seedbed.storage.remote_storage.ATTEMPTS", 1)
    monkeypatch.setattr("seedbed.driver.output_trust.STORAGE_RETRY_SECONDS", 0.0)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_refusal_shows_what_is_secret_in_a_url(scene: Scene, server: str, command: str) -> None:
    scene.job()
    for place, url in PLACES.items():
        given = url.format(server=server, canary=CANARY)
        words = [
            word.format(url=given, job=scene.manifest, folder=scene.folder) for word in COMMANDS[command]
        ]
        done = scene.type(*words)
        require_silence(scene, done)
        assert "Traceback" not in done.stderr, place


@pytest.mark.parametrize("field", ["dataset__uri", "output__uri", "model__code"])
def test_no_manifest_is_quoted_with_its_secrets(scene: Scene, server: str, field: str) -> None:
    for url in PLACES.values():
        given: Any = url.format(server=server, canary=CANARY)
        code = {"model__entrypoint": "mine:Net", "model__name": None} if field == "model__code" else {}
        scene.job(**{field: {"uri": f"{given}/x.whl"} if field == "model__code" else given, **code})
        for words in (("run", "-f", scene.manifest, "-o", "json"), ("validate", scene.manifest)):
            require_silence(scene, scene.type(*words))


GOOGLE_KEY = json.dumps(
    {"type": "service_account", "private_key": CANARY, "client_email": "a@b", "token_uri": CLOSED}
)
ACCOUNT = {"AZURE_STORAGE_ACCOUNT": "account", "AZURE_STORAGE_SERVICE_ENDPOINT": f"{CLOSED}/account"}
STORES = {
    "S3, nobody listens": ("s3://bucket/data", {}),
    "S3, no endpoint": ("s3://bucket/data", {"AWS_ENDPOINT_URL": f"http://user:{CANARY}@127.0.0.1:x/"}),
    "Google, a key that is none": ("gs://bucket/data", {"GOOGLE_APPLICATION_CREDENTIALS": CANARY}),
    "Google, half a key": ("gs://bucket/data", {"GOOGLE_APPLICATION_CREDENTIALS": GOOGLE_KEY}),
    "Azure, a key that is none": ("az://container/data", {**ACCOUNT, "AZURE_STORAGE_KEY": CANARY}),
    "Azure, nobody listens": ("az://container/data", {**ACCOUNT, "AZURE_STORAGE_SAS_TOKEN": f"sig={CANARY}"}),
    "Azure, half a string": (
        "az://container/data",
        {"AZURE_STORAGE_CONNECTION_STRING": f"AccountKey={CANARY}"},
    ),
    "HDFS, nobody listens": ("webhdfs://127.0.0.1:9/data", {"WEBHDFS_DELEGATION_TOKEN": CANARY}),
    "HTTP, denied": ("{server}/403/data", {}),
    "HTTP, another scheme's secret": ("{server}/401/data", {}),
    "a certificate that is none": ("{server}/data", {"ca.crt": CANARY}),
    "a token that is no header": ("{server}/data", {"HTTP_BEARER_TOKEN": f"{CANARY}\nX-A: b"}),
}


@pytest.mark.parametrize("name", STORES)
def test_no_refusal_shows_a_credential(scene: Scene, server: str, secret: Path, name: str) -> None:
    url, changes = STORES[name]
    for file, text in changes.items():
        (secret / file).write_text(text)
    scene.job(dataset__uri=url.format(server=server))
    require_silence(scene, scene.run("--dataset-secret", secret, "-o", "json"))
    require_silence(scene, scene.type("dataset", "show", url.format(server=server), "--secret", secret))
    scene.job(output__uri="s3://bucket/runs")
    require_silence(scene, scene.run("--output-secret", secret, "-o", "json"))


def test_a_complete_run_writes_no_signature(scene: Scene, server: str, secret: Path) -> None:
    """Receipt, recipe, report, log and status name the dataset without what signs its URL."""
    scene.job(dataset__uri=f"{server}/data?sig={CANARY}")
    done = scene.run("--dataset-secret", secret, "-o", "json")
    assert done.exit_code == 0, done.stderr
    require_silence(scene, done)
    assert json.loads(done.stdout)["dataset"]["digest"]
    for words in (
        ("runs", "list", scene.runs),
        ("logs", scene.runs, "tiny"),
        ("diff", *[scene.run_folder()] * 2),
    ):
        require_silence(scene, scene.type(*words))
