"""The driver's endpoint under clients that want to keep it from others; real sockets."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from seedbed.pods import endpoint_server
from seedbed.pods.driver_endpoint import WorkerRegistry, serve_endpoint
from support.servers import hostile_clients as hostile

SECONDS = 2.0
"""Of a connection, here."""
PAGE = b"x" * (32 << 20)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Address]:
    monkeypatch.setattr(endpoint_server, "CONNECTION_SECONDS", SECONDS)
    endpoint = serve_endpoint(
        0, progress=lambda: b"{}", metrics=lambda: PAGE, workers=WorkerRegistry(), token="of this job"
    )
    with endpoint as port:
        yield "127.0.0.1", port


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


REFUSED = {
    "another method": (b"POST /progress HTTP/1.1\r\nHost: a\r\n\r\n", b" 405 "),
    "deletion": (b"DELETE /needed HTTP/1.1\r\nHost: a\r\n\r\n", b" 405 "),
    "a tunnel": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: a\r\n\r\n", b" 40"),
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", b" 400 "),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b" 40"),
    "a body": (b"GET /progress HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", b" 413 "),
    "a body of a terabyte": (b"GET /progress HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b" 413 "),
    "a length that is none": (b"GET /progress HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", b" 400 "),
    "a chunked body": (b"GET /progress HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", b" 413 "),
    "two lengths": (b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 5\r\n\r\nhello", b" 400 "),
    "a long path": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b" 400 "),
    "a long header": (b"GET / HTTP/1.1\r\na: " + b"a" * 100_000 + b"\r\n\r\n", b" 400 "),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 10_000 + b"\r\n", b" 400 "),
    "a path upwards": (b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", b" 404 "),
    "an address as path": (b"GET http://169.254.169.254/ HTTP/1.1\r\nHost: a\r\n\r\n", b" 404 "),
    "a token of other bytes": (b"GET /needed?pod=a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer \xff\xfe\r\n\r\n", b" 401 "),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_request_is_refused_and_the_connection_closed(name: str, server: hostile.Address) -> None:
    sent, status = REFUSED[name]
    answer = hostile.one_connection(sent)(server)
    assert isinstance(answer, bytes)
    assert status in answer.partition(b"\r\n")[0], answer[:200]
    assert hostile.seconds_of_a_request(server, "/progress") < 1


ENDLESS = {
    "endless headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 1000),
    "an endless header": (b"GET / HTTP/1.1\r\na: ", b"b" * 10_000),
    "an endless first line": (b"GET /", b"a" * 10_000),
    "an endless body": (b"GET /progress HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b"a" * 10_000),
    "endless chunks": (b"GET /progress HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"5\r\nhello\r\n" * 1000),
    "endless requests": (b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 100),
}  # fmt: skip


@pytest.mark.parametrize("name", ENDLESS)
def test_what_has_no_end_is_cut_off(name: str, server: hostile.Address) -> None:
    first, then = ENDLESS[name]
    began = time.monotonic()
    taken = hostile.one_connection(first, then=then)(server)
    assert isinstance(taken, int)
    assert taken < 64 << 20, "the server reads on"
    assert time.monotonic() - began < 20 * SECONDS
    assert hostile.seconds_of_a_request(server, "/progress") < 1


def test_of_many_requests_on_a_connection_the_first_is_answered(server: hostile.Address) -> None:
    answer = hostile.one_connection(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n" * 5)(server)
    assert isinstance(answer, bytes)
    assert answer.count(b"HTTP/1.1 200") == 1


def test_who_has_closed_one_direction_is_answered(server: hostile.Address) -> None:
    answer = hostile.one_connection(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n", shut=True)(server)
    assert isinstance(answer, bytes)
    assert answer.endswith(b"ok\n")


@pytest.mark.parametrize("first", [b"", b"GET /healthz HTTP/1.1\r\nHost:"], ids=["nothing", "half a request"])
@pytest.mark.parametrize("shut", [False, True], ids=["open", "half closed"])
def test_who_says_no_more_is_closed_after_a_while(first: bytes, shut: bool, server: hostile.Address) -> None:
    began = time.monotonic()
    hostile.one_connection(first, shut=shut)(server)
    assert time.monotonic() - began < 10 * SECONDS


def test_who_never_reads_a_page_is_closed_after_a_while(server: hostile.Address) -> None:
    before = open_files()
    with hostile.connect(server) as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        reader.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
        time.sleep(SECONDS / 2)
        assert hostile.seconds_of_a_request(server, "/progress") < 1
        until = time.monotonic() + 20 * SECONDS
        while open_files() > before + 1:
            assert time.monotonic() < until, "the server still sends"
            time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.parametrize("first", ["", "GET /progress HTTP/1.1\r\na: "], ids=["silent", "slowloris"])
def test_ten_thousand_connections_take_nothing_from_others(first: str, server: hostile.Address) -> None:
    files, threads = open_files(), threading.active_count()
    with hostile.flood(server, 10_000, first=first.encode()) as opened:
        assert opened > 5_000, "this machine allows too few open files for the test"
        assert hostile.seconds_of_a_request(server, "/progress") < 1
        assert open_files() - files <= endpoint_server.MOST_CONNECTIONS + 8
        assert threading.active_count() <= threads + endpoint_server.RENDER_THREADS


def test_a_client_at_the_address_of_the_attacker_is_served(server: hostile.Address) -> None:
    with hostile.flood(server, 1_000):
        assert hostile.seconds_of_a_request(server, "/progress", source="127.0.0.2") < 1


def test_a_page_is_rendered_once_for_all_who_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered, asked = [], threading.Event()

    def slow() -> bytes:
        rendered.append(1)
        assert asked.wait(60)
        return b"{}"

    with serve_endpoint(0, progress=slow, workers=WorkerRegistry(), token="x") as port:
        clients = [hostile.connect(("127.0.0.1", port)) for _ in range(50)]
        for client in clients:
            client.sendall(b"GET /progress HTTP/1.1\r\nHost: a\r\n\r\n")
        while not rendered:
            time.sleep(0.01)
        assert hostile.seconds_of_a_request(("127.0.0.1", port), "/healthz") < 1
        time.sleep(0.5)
        asked.set()
        assert all(hostile.received_until_closed(client).endswith(b"{}") for client in clients)
        for client in clients:
            client.close()
    assert len(rendered) <= 2


def test_driver_and_operator_have_the_same_limit_of_connections() -> None:
    ours = Path(endpoint_server.__file__).with_name("connection_limit.py")
    theirs = ours.parents[3] / "operator/seedbed_operator/manager/connection_limit.py"
    assert ours.read_bytes() == theirs.read_bytes()
