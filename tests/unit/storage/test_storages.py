"""One table of behaviour for every store that needs no server of its own; HTTP is served by this process."""

from __future__ import annotations

import http.server
import itertools
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from seedbed.storage import LocalStorage, ShortRead, Storage, open_storage, printable_url
from seedbed_api.errors import InfrastructureError, UserError
from seedbed_api.exponential_backoff import ExponentialBackoff
from support.storage.creation_race import check_only_the_first_creator_wins

_NUMBERS = itertools.count()


@pytest.fixture(params=["path", "file URL", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    urls = {
        "path": str(tmp_path / "out"),
        "file URL": f"file://{tmp_path}/out/",
        "memory": f"memory://test-{next(_NUMBERS)}/out",
    }
    return open_storage(urls[request.param])


def test_create_is_exclusive_and_put_is_not(store: Storage) -> None:
    assert not store.exists("a/b")
    assert store.create("a/b", b"one")
    assert not store.create("a/b", b"two")
    assert store.read("a/b") == b"one"
    store.put("a/b", b"three")
    assert store.read("a/b") == b"three"
    assert store.size("a/b") == 5
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")


def test_absent_is_file_not_found_whatever_is_asked(store: Storage) -> None:
    store.put("folder/file", b"")
    for path in ("nothing", "folder", "folder/file/below"):
        for operation in (store.read, store.size, lambda p: store.read_range(p, 0, 1)):
            with pytest.raises(FileNotFoundError):
                operation(path)
        assert not store.exists(path)


def test_ranges_are_exact_or_an_error(store: Storage) -> None:
    store.put("a", b"0123456789")
    assert store.read_range("a", 0, 10) == b"0123456789"
    assert store.read_range("a", 3, 4) == b"3456"
    assert store.read_range("a", 10, 0) == b""
    for start, length in ((0, 11), (9, 2), (10, 1), (100, 1)):
        with pytest.raises(ShortRead):
            store.read_range("a", start, length)


def test_listing_is_sorted_and_of_folders(store: Storage) -> None:
    names = ["b/2", "a", "b/1", "b.txt", "b/c/3", "ö ü/%41#?"]
    for name in names:
        store.put(name, name.encode())
    assert store.list() == sorted(names)
    assert store.list("b") == store.list("b/") == ["b/1", "b/2", "b/c/3"]
    assert store.child("b").list() == ["1", "2", "c/3"]
    assert store.list("nothing") == []
    assert store.child("ö ü").read("%41#?") == "ö ü/%41#?".encode()


@pytest.mark.parametrize("path", ["", "/etc/passwd", "../x", "a/../../x", "a\0b"])
def test_no_path_leads_out_of_the_store(store: Storage, path: str) -> None:
    for operation in (store.read, store.exists, store.delete, lambda p: store.create(p, b"")):
        with pytest.raises(UserError) as caught:
            operation(path)
        assert caught.value.reason == "InvalidPath"


def test_only_the_first_of_many_creators_wins(store: Storage) -> None:
    check_only_the_first_creator_wins(store, "claim")


def test_pickled_store_opens_the_same_objects(store: Storage) -> None:
    store.put("a", b"1")
    copy = pickle.loads(pickle.dumps(store.child("b")))
    copy.put("c", b"2")
    assert store.list() == ["a", "b/c"]
    assert copy.url == store.url + "/b"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:secret@host/data?sig=secret", "https://host/data?…"),
        ("s3://key:secret@bucket/x", "s3://bucket/x"),
        ("s3://bucket/x/", "s3://bucket/x"),
        ("memory://a", "memory://a"),
        ("/plain/path@host", "/plain/path@host"),
    ],
)
def test_no_credential_is_shown(url: str, shown: str) -> None:
    assert printable_url(url) == shown
    if "://" in url:
        store = open_storage(url)
        assert store.url == shown
        assert "secret" not in f"{store.url} {store!r} {store.child('y')!r}"


@pytest.mark.parametrize("url", ["", "gopher://x", "pvc://claim/path", "simplecache::s3://x", "a\0b"])
def test_what_names_no_storage_is_refused_with_the_known_schemes(url: str) -> None:
    with pytest.raises(UserError, match="s3://") as caught:
        open_storage(url)
    assert caught.value.reason == "InvalidStorageURL"


def test_local_paths_cost_no_import_of_fsspec() -> None:
    code = "import sys; from seedbed.storage import open_storage; open_storage('x'); print(sorted(m for m in sys.modules if m in {'fsspec','s3fs','aiohttp','asyncio','ssl','numpy'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)})  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_links_to_folders_are_listed_and_a_loop_ends(tmp_path: Path) -> None:
    store = LocalStorage(root=tmp_path / "source")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "image.png").write_bytes(b"1")
    store.put("a/file", b"2")
    (tmp_path / "source" / "class").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "source" / "a" / "loop").symlink_to(tmp_path / "source")
    assert set(store.list()) == {"a/file", "class/image.png"}


Handler = Callable[[http.server.BaseHTTPRequestHandler, bytes], None]


@dataclass
class Server:
    """An HTTP server whose answers a test may bend."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    failures: list[int] = field(default_factory=list)
    ranges: bool = True
    token: str = ""
    seen: list[str] = field(default_factory=list)


def _answer(server: Server, path: str, asked: str, authorization: str | None) -> tuple[int, bytes]:
    data = server.files.get(path)
    if server.failures:
        return server.failures.pop(0), b""
    if server.token and authorization != f"Bearer {server.token}":
        return 401, b""
    if data is None:
        return 404, b""
    if server.ranges and (match := re.fullmatch(r"bytes=(\d+)-(\d+)", asked)):
        part = data[int(match[1]) : int(match[2]) + 1]
        return (206 if part else 416), part
    return 200, data


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Answer(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            asked = self.headers.get("Range", "")
            server.seen.append(f"{self.command} {self.path} {asked}")
            self._send(*_answer(server, self.path, asked, self.headers.get("Authorization")))

        def do_HEAD(self) -> None:
            self.do_GET()

        def _send(self, status: int, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if server.ranges:
                self.send_header("Accept-Ranges", "bytes")
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            del arguments

    return Answer


@pytest.fixture
def web() -> Iterator[Server]:
    server = Server(files={"/data/a%20b%23.bin": b"0123456789"})
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{listener.server_port}/data"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    listener.shutdown()
    thread.join()
    listener.server_close()


NAME = "a b#.bin"


def test_http_reads_whole_objects_and_ranges(web: Server) -> None:
    store = open_storage(web.url)
    assert store.read(NAME) == b"0123456789"
    assert store.read_range(NAME, 2, 3) == b"234"
    assert web.seen[-1].endswith("bytes=2-4")
    assert store.size(NAME) == 10
    assert store.exists(NAME)
    assert not store.exists("nothing")
    for start, length in ((8, 5), (10, 1)):
        with pytest.raises(ShortRead):
            store.read_range(NAME, start, length)


def test_http_token_comes_from_the_secret_and_is_asked_for(web: Server, tmp_path: Path) -> None:
    web.token = "t0ken"
    with pytest.raises(UserError, match="HTTP_BEARER_TOKEN") as caught:
        open_storage(web.url).read(NAME)
    assert caught.value.reason == "StorageDenied"
    (tmp_path / "HTTP_BEARER_TOKEN").write_text("t0ken\n")
    store = open_storage(web.url, secret=tmp_path)
    assert store.read_range(NAME, 0, 4) == b"0123"
    assert b"t0ken" not in pickle.dumps(store)


@pytest.mark.parametrize("status", [500, 502, 503, 429])
@pytest.mark.parametrize("operation", ["read", "size", "exists"])
def test_http_faults_that_pass_are_retried(web: Server, status: int, operation: str) -> None:
    web.failures = [status] * 2
    assert getattr(open_storage(web.url), operation)(NAME) in (b"0123456789", 10, True)


def test_http_server_that_stays_away_is_infrastructure(web: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "seedbed.storage.remote_storage.BACKOFF", ExponentialBackoff(first=0.001, longest=4.0)
    )
    web.failures = [503] * 100
    with pytest.raises(InfrastructureError, match="status 503") as caught:
        open_storage(web.url).exists(NAME)
    assert caught.value.reason == "StorageUnavailable"


def test_http_server_without_ranges_is_told_apart_from_data(web: Server) -> None:
    web.ranges = False
    with pytest.raises(UserError) as caught:
        open_storage(web.url).read_range(NAME, 2, 3)
    assert caught.value.reason == "RangesUnsupported"


def test_http_takes_no_output(web: Server) -> None:
    for operation in ("create", "put"):
        with pytest.raises(UserError) as caught:
            getattr(open_storage(web.url), operation)("x", b"")
        assert caught.value.reason == "OutputUnwritable"


def test_secret_that_is_no_folder_is_the_users_to_mend(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        open_storage("s3://bucket", secret=tmp_path / "nothing").read("a")
    assert caught.value.reason == "SecretNotFound"


def test_secret_that_may_not_be_read_is_the_users_to_mend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("x")
    stat = Path.stat

    def denying(path: Path, **more: Any) -> Any:
        if path.name == "AWS_ACCESS_KEY_ID":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", denying)
    with pytest.raises(UserError, match="AWS_ACCESS_KEY_ID") as caught:
        open_storage("s3://bucket", secret=tmp_path).read("a")
    assert caught.value.reason == "SecretNotFound"
