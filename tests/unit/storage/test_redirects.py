"""Where servers may send a request: redirects, names that resolve to link-local addresses, and credentials."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from seedbed.storage import Storage, open_storage
from seedbed.storage.redirect_policy import host_problem, is_forbidden, is_local_host, redirect_problem
from seedbed_api.errors import UserError
from seedbed_api.pod_contract import env_vars

pytestmark = pytest.mark.timeout(120)

LINK_LOCAL = (
    "169.254.169.254",
    "169.254.170.2",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "169.254.43518",
    "fe80::1",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "::ffff:a9fe:a9fe",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
    "::169.254.169.254",
    "100.100.100.200",
)


@pytest.mark.parametrize("address", LINK_LOCAL)
def test_link_local_addresses_are_known_in_every_form(address: str) -> None:
    assert is_forbidden(address)
    assert host_problem(address) == "is a link-local address or a metadata service"


@pytest.mark.parametrize("host", ["metadata.google.internal", "METADATA.google.internal.", "metadata"])
def test_names_of_metadata_services_are_known(host: str) -> None:
    assert host_problem(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0.0.0.0", "::1", "::ffff:127.0.0.1", "localhost", "a.localhost", "LOCALHOST."])  # fmt: skip
def test_this_machine_is_known_in_every_form(host: str) -> None:
    assert is_local_host(host)


@pytest.mark.parametrize("address", ["10.0.0.1", "8.8.8.8", "2606:4700::1111", "fd12::1", "data.example", ""])
def test_other_addresses_are_permitted(address: str) -> None:
    assert not is_forbidden(address)
    assert not host_problem(address)
    assert not is_local_host(address)


ALLOWED = ("https://data.example/sets/", "https://cdn.example", "http://data.example/")
CHAINS: dict[str, tuple[str, str, tuple[str, ...] | None, str | None]] = {
    "anywhere without a list": ("https://data.example/a", "https://cdn.example/b", None, None),
    "within the list": ("https://data.example/sets/a", "https://cdn.example/b?sig=s", ALLOWED, None),
    "beside the list": ("https://data.example/sets/a", "https://data.example/b", ALLOWED, "is not below"),
    "a name that begins alike": ("https://data.example/sets/a", "https://cdn.example.evil/", ALLOWED, "is not below"),
    "a user that looks like a host": ("https://data.example/a", "https://cdn.example@evil/", ALLOWED, "is not below"),
    "no encryption": ("https://data.example/sets/a", "http://data.example/b", ALLOWED, "is not encrypted"),
    "encryption": ("http://data.example/a", "https://cdn.example/b", ALLOWED, None),
    "a file": ("https://data.example/a", "file:///etc/passwd", None, "is no http"),
    "FTP": ("https://data.example/a", "ftp://data.example/a", None, "is no http"),
    "nowhere": ("https://data.example/a", "", None, "is no http"),
    "this machine": ("http://data.example/a", "http://127.0.0.1:8701/metrics", None, "this machine"),
    "this machine by a short name": ("http://data.example/a", "http://127.1/", None, "this machine"),
    "from this machine to itself": ("http://localhost:9000/a", "http://127.0.0.1:9001/", None, None),
    "a link-local address": ("http://localhost/a", "http://169.254.169.254/latest", None, "link-local"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHAINS)
def test_a_redirect_is_followed_or_not(name: str) -> None:
    first, target, allowed, expected = CHAINS[name]
    problem = redirect_problem(first, first, target, allowed=allowed)
    assert (problem is None) == (expected is None), problem
    assert expected is None or expected in str(problem)
    assert "sig=" not in str(problem)


def test_a_chain_may_not_lose_its_encryption_on_the_way() -> None:
    assert redirect_problem("http://a.example/", "https://b.example/", "http://a.example/", allowed=None)


@dataclass
class Server:
    """A real server on an address of this machine, which answers as told and notes what it was asked."""

    address: str
    answers: Callable[[str], tuple[int, dict[str, str], bytes]]
    asked: list[dict[str, str]] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    running: list[ThreadingHTTPServer] = []

    def start(
        address: str = "127.0.0.1",
        answers: Callable[[str], tuple[int, dict[str, str], bytes]] = lambda _path: (200, {}, b"data"),
    ) -> Server:
        server = Server(address, answers)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.asked.append({"path": self.path, **dict(self.headers)})
                status, headers, body = server.answers(self.path)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            do_HEAD = do_PUT = do_GET  # noqa: N815 - names of http.server

            def log_message(self, *_: Any) -> None: ...

        listening = ThreadingHTTPServer((address, 0), Handler)
        running.append(listening)
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        server.url = f"http://{address}:{listening.server_port}"
        return server

    yield start
    for listening in running:
        listening.shutdown()
        listening.server_close()


def redirecting(target: str, status: int = 302) -> Callable[[str], tuple[int, dict[str, str], bytes]]:
    return lambda _path: (status, {"Location": target}, b"")


USES: dict[str, Callable[[Storage], object]] = {
    "read": lambda store: store.read("a"),
    "read a range": lambda store: store.read_range("a", 0, 2),
    "size": lambda store: store.size("a"),
    "exists": lambda store: store.exists("a"),
    "list": lambda store: store.list(),
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_on_this_machine_is_followed(serve: Callable[..., Server], status: int) -> None:
    elsewhere = serve("127.0.0.2")
    store = open_storage(serve(answers=redirecting(f"{elsewhere.url}/b", status)).url)
    assert store.read("a") == b"data"
    assert elsewhere.asked


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize(
    "target",
    ["http://169.254.169.254/latest/meta-data", "http://2852039166/", "http://[fe80::1]/", "http://metadata.google.internal/"],
)  # fmt: skip
def test_no_redirect_reaches_a_link_local_address(
    serve: Callable[..., Server], use: str, target: str
) -> None:
    store = open_storage(serve(answers=redirecting(target)).url)
    with pytest.raises(UserError, match=r"uri: redirects to .*link-local address or a metadata service"):
        USES[use](store)


def test_a_pod_follows_redirects_within_the_profiles_prefixes(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = serve("127.0.0.2")
    first = serve(answers=redirecting(f"{elsewhere.url}/b?X-Amz-Signature=canary"))
    monkeypatch.setenv(env_vars.ALLOWED_URI_PREFIXES, json.dumps([f"{first.url}/"]))
    with pytest.raises(UserError, match="not below allowedURIPrefixes of the profile") as caught:
        open_storage(first.url).read("a")
    assert "canary" not in caught.value.message
    assert not elsewhere.asked
    monkeypatch.setenv(env_vars.ALLOWED_URI_PREFIXES, json.dumps([f"{first.url}/", elsewhere.url]))
    assert open_storage(first.url).read("a") == b"data"


@pytest.mark.parametrize("url", ["http://169.254.169.254/data", "http://[::ffff:169.254.169.254]/data"])
def test_no_url_names_a_link_local_address(url: str) -> None:
    with pytest.raises(UserError, match="link-local"):
        open_storage(url).read("a")


def resolving(addresses: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let names resolve as an attacker's server of names would."""
    known = socket.getaddrinfo

    def lookup(host: Any, *arguments: Any, **options: Any) -> Any:
        return known(addresses.get(host, host), *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)


def test_a_name_that_resolves_to_a_link_local_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolving({"rebound.example": "169.254.169.254"}, monkeypatch)
    with pytest.raises(UserError, match="resolves to a link-local address"):
        open_storage("http://rebound.example/data").read("a")


def test_a_redirect_to_a_name_that_resolves_to_this_machine_is_not_followed(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first server counts as another machine: its name is not local, though it resolves to one here."""
    secret = serve("127.0.0.2")
    port = secret.url.rpartition(":")[2]
    first = serve(answers=redirecting(f"http://rebound.example:{port}/b"))
    names = {"data.example": "127.0.0.1", "rebound.example": "127.0.0.2"}
    resolving(names, monkeypatch)
    with pytest.raises(UserError, match="redirects to a name that resolves to this machine itself"):
        open_storage(first.url.replace("127.0.0.1", "data.example")).read("a")
    assert not secret.asked


@pytest.mark.parametrize("secret", ["token", "user"])
def test_credentials_are_not_sent_to_another_host(
    serve: Callable[..., Server], tmp_path: Path, secret: str
) -> None:
    elsewhere = serve("127.0.0.2")
    first = serve(answers=redirecting(f"{elsewhere.url}/b"))
    (tmp_path / "HTTP_BEARER_TOKEN").write_text("canary")
    url = first.url if secret == "token" else first.url.replace("//", "//user:canary@")
    store = open_storage(url, secret=tmp_path if secret == "token" else None)
    assert store.read("a") == b"data"
    assert "Authorization" in first.asked[0]
    assert all("Authorization" not in asked for asked in elsewhere.asked)
    assert "canary" not in json.dumps(elsewhere.asked)


S3_REDIRECT = b"<Error><Code>PermanentRedirect</Code><Endpoint>127.0.0.2</Endpoint></Error>"


@pytest.mark.parametrize("status", [301, 302, 307])
def test_an_s3_endpoint_redirects_nowhere(serve: Callable[..., Server], tmp_path: Path, status: int) -> None:
    elsewhere = serve("127.0.0.2")
    endpoint = serve(answers=lambda _: (status, {"Location": f"{elsewhere.url}/b/a"}, S3_REDIRECT))
    for name, value in {
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "canary",
        "ENDPOINT_URL": endpoint.url,
    }.items():
        (tmp_path / f"AWS_{name}").write_text(value)
    store = open_storage("s3://bucket/data", secret=tmp_path)
    for use in (store.read, lambda path: store.put(path, b"1"), store.size):
        with pytest.raises(UserError, match=rf"the endpoint redirects \({status}\) to '{elsewhere.url}/b/a"):
            use("a")
    assert endpoint.asked
    assert not elsewhere.asked


def test_an_s3_endpoint_is_no_link_local_address(tmp_path: Path) -> None:
    for name, value in {
        "ACCESS_KEY_ID": "k",
        "SECRET_ACCESS_KEY": "s",
        "ENDPOINT_URL": "http://169.254.169.254",
    }.items():
        (tmp_path / f"AWS_{name}").write_text(value)
    with pytest.raises(UserError, match="link-local"):
        open_storage("s3://bucket/data", secret=tmp_path).read("a")
