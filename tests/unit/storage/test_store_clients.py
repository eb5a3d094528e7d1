"""Clients of Google, Azure and HDFS without a server of theirs: keys, tokens, packages, refusals, data nodes."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from seedbed.storage import open_storage
from seedbed.storage.object_store import StoreRefusal
from seedbed.storage.secret_folder import STORE_KEYS
from seedbed.storage.webhdfs_store import _redirect_problem, _refusal
from seedbed_api.errors import UserError


@pytest.fixture(autouse=True)
def no_keys_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in STORE_KEYS:
        monkeypatch.delenv(name, raising=False)


class Google(BaseHTTPRequestHandler):
    """Gives tokens for one key, and one object to who has a token."""

    known_key = "1"

    def do_POST(self) -> None:
        body = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        header = json.loads(_decoded(body["assertion"][0].partition(".")[0]))
        if header["kid"] == self.known_key:
            self._answer(200, {"access_token": "t0ken", "expires_in": 3600})
        else:
            self._answer(400, {"error": "invalid_grant", "error_description": "no such key"})

    def do_GET(self) -> None:
        allowed = self.headers.get("Authorization") == "Bearer t0ken"
        self._answer(200 if allowed else 401, {"size": "5"} if allowed else {"error": {"code": 401}})

    def _answer(self, status: int, document: object) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def _decoded(part: str) -> bytes:
    import base64

    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


@pytest.fixture
def google() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Google)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def private_key() -> str:
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(*form).decode()


def service_account(google: str, private_key: str, number: str) -> str:
    return json.dumps(
        {
            "type": "service_account",
            "client_email": "me@project.iam.gserviceaccount.com",
            "private_key": private_key,
            "private_key_id": number,
            "token_uri": f"{google}/token",
        }
    )


@pytest.mark.parametrize("place", ["secret", "variable", "file"])
def test_a_key_of_google_is_its_contents_or_its_file(
    google: str, private_key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    key, secret = service_account(google, private_key, "1"), None
    (tmp_path / "STORAGE_EMULATOR_HOST").write_text(google)
    (tmp_path / "GOOGLE_APPLICATION_CREDENTIALS").write_text(key)
    if place == "secret":
        secret = tmp_path
    else:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", google.removeprefix("http://"))
        file = str(tmp_path / "GOOGLE_APPLICATION_CREDENTIALS")
        monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", key if place == "variable" else file)
    assert open_storage("gs://bucket", secret=secret).size("a") == 5


def test_a_key_that_google_does_not_know_is_one_line(google: str, private_key: str, tmp_path: Path) -> None:
    (tmp_path / "STORAGE_EMULATOR_HOST").write_text(google)
    (tmp_path / "GOOGLE_APPLICATION_CREDENTIALS").write_text(service_account(google, private_key, "2"))
    with pytest.raises(UserError, match=r"access denied .*GOOGLE_APPLICATION_CREDENTIALS") as caught:
        open_storage("gs://bucket", secret=tmp_path).size("a")
    assert caught.value.reason == "StorageDenied"
    assert "PRIVATE KEY" not in caught.value.message


@pytest.mark.parametrize(
    ("values", "url", "reason", "names"),
    [
        (
            {"GOOGLE_APPLICATION_CREDENTIALS": "{}"},
            "gs://b",
            "SecretNotFound",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "{not"}, "gs://b", "SecretNotFound", "key file"),
        ({"GOOGLE_APPLICATION_CREDENTIALS": "/no/file"}, "gs://b", "SecretNotFound", "key file"),
        ({"AZURE_STORAGE_KEY": "c2VjcmV0"}, "az://c", "StorageDenied", "AZURE_STORAGE_ACCOUNT"),
        ({}, "az://c", "StorageDenied", "AZURE_STORAGE_ACCOUNT"),
        ({"AZURE_STORAGE_CONNECTION_STRING": "no=thing"}, "az://c", "SecretNotFound", "connection string"),
    ],
    ids=str,
)
def test_keys_that_are_none_are_one_line(
    tmp_path: Path, values: dict[str, str], url: str, reason: str, names: str
) -> None:
    for name, value in values.items():
        (tmp_path / name).write_text(value)
    with pytest.raises(UserError, match=names) as caught:
        open_storage(url, secret=tmp_path).read("a")
    assert caught.value.reason == reason
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("url", "module", "package", "extra"),
    [
        ("gs://bucket", "gcs_store", "google.auth", "gcs"),
        ("az://container", "azure_store", "azure.storage.blob.aio", "azure"),
    ],
)
def test_a_missing_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, url: str, module: str, package: str, extra: str
) -> None:
    monkeypatch.delitem(sys.modules, f"seedbed.storage.{module}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"is not installed.*install seedbed\[{extra}\]") as caught:
        open_storage(url).read("a")
    assert "\n" not in caught.value.message


def test_an_account_in_a_url_of_azure_is_refused_by_what_to_write() -> None:
    with pytest.raises(UserError, match="write az://container/folder") as caught:
        open_storage("abfss://data@account.dfs.core.windows.net/x")
    assert caught.value.reason == "InvalidStorageURL"


NODE = "http://namenode:9870/webhdfs/v1/data/a%20b?op=OPEN&user.name=me"


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        (
            "http://datanode:9864/webhdfs/v1/data/a%20b?op=OPEN&namenoderpcaddress=namenode:8020&offset=0",
            None,
        ),
        ("http://datanode:9864/webhdfs/v1/data/other?op=OPEN", "the same file"),
        ("http://datanode:9864/latest/meta-data/?op=OPEN", "the same file"),
        ("http://datanode:9864/webhdfs/v1/data/a%20b?op=DELETE", "the same file"),
        ("http://169.254.169.254/webhdfs/v1/data/a%20b?op=OPEN", "link-local"),
        ("http://metadata.google.internal/webhdfs/v1/data/a%20b?op=OPEN", "metadata"),
        ("http://127.0.0.1:9864/webhdfs/v1/data/a%20b?op=OPEN", "this machine"),
        ("file:///webhdfs/v1/data/a%20b?op=OPEN", "no http"),
        ("", "the same file"),
    ],
)
def test_a_name_node_sends_to_data_nodes_alone(target: str, problem: str | None) -> None:
    found = _redirect_problem(NODE, target)
    assert found is None if problem is None else problem in (found or "")


@pytest.mark.parametrize(
    ("exception", "message", "status", "means"),
    [
        ("FileNotFoundException", "File does not exist: /a", 404, 404),
        ("AccessControlException", "/a (is not a directory)", 403, 404),
        ("AccessControlException", "Permission denied: user=x", 403, 403),
        ("SecurityException", "Failed to obtain user group information", 403, 401),
        ("StandbyException", "Operation category READ is not supported in state standby", 403, 503),
        ("SafeModeException", "Name node is in safe mode", 403, 503),
        ("IOException", "could only be written to 0 of the 1 minReplication nodes", 403, 503),
        ("IOException", "Offset=100 out of the range [0, 10)", 403, 416),
        ("DSQuotaExceededException", "The DiskSpace quota is exceeded", 403, 507),
    ],
)
def test_exceptions_of_hdfs_say_who_can_mend_them(
    exception: str, message: str, status: int, means: int
) -> None:
    body = json.dumps({"RemoteException": {"exception": exception, "javaClassName": "x", "message": message}})
    found = _refusal(status, body)
    assert isinstance(found, StoreRefusal)
    assert found.status == means


def test_a_file_that_is_there_is_told_as_such() -> None:
    body = json.dumps({"RemoteException": {"exception": "FileAlreadyExistsException", "message": "x"}})
    assert isinstance(_refusal(403, body), FileExistsError)
    assert isinstance(_refusal(502, "<html>"), StoreRefusal)
