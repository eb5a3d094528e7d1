"""The operator's health and metrics are served while other pods try to keep them from it; real sockets."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web

from seedbed_operator.manager import health_server
from support.servers import hostile_clients as hostile

SECONDS = 2.0
"""Of a connection, here."""


async def _text() -> bytes:
    return b"x" * 100_000


async def _served(health: Any, page: Any, ports: list[int]) -> web.AppRunner:
    """Serve on a port that was free a moment ago; another process may be quicker."""
    for _ in range(10):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
        with suppress(OSError):
            return await health_server.serve(health, page, ports[-1])
    raise AssertionError("no free port")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[hostile.Address]:
    monkeypatch.setattr(health_server, "CONNECTION_SECONDS", SECONDS)
    health: Any = SimpleNamespace(unhealthy_reason=lambda: None, unready_reason=lambda: None)
    page: Any = SimpleNamespace(text=_text)
    ready, loop, ending = threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    ports: list[int] = []

    async def story() -> None:
        runner = await _served(health, page, ports)
        ready.set()
        await ending.wait()
        await runner.cleanup()

    thread = threading.Thread(target=lambda: loop.run_until_complete(story()))
    thread.start()
    assert ready.wait(60)
    yield "127.0.0.1", ports[-1]
    loop.call_soon_threadsafe(ending.set)
    thread.join(60)
    assert not thread.is_alive()
    with pytest.raises(OSError):
        hostile.connect(("127.0.0.1", ports[-1]))


@pytest.mark.parametrize(
    "attack",
    [
        pytest.param((b"GET / HTTP/1.1\r\n", b"a: b\r\n" * 1000), id="endless headers"),
        pytest.param((b"GET / HTTP/1.1\r\na: ", b"b" * 10_000), id="an endless header"),
        pytest.param(
            (b"GET /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000000\r\n\r\n", b"a" * 10_000),
            id="an endless body",
        ),
    ],
)
def test_what_has_no_end_is_cut_off(attack: tuple[bytes, bytes], server: hostile.Address) -> None:
    first, then = attack
    taken = hostile.one_connection(first, then=then)(server)
    assert isinstance(taken, int)
    assert taken < 64 << 20
    assert hostile.seconds_of_a_request(server, "/healthz") < 1


@pytest.mark.parametrize("first", [b"", b"GET /metrics HTTP/1.1\r\nHost:"], ids=["nothing", "half a request"])
def test_who_says_no_more_is_closed_after_a_while(first: bytes, server: hostile.Address) -> None:
    hostile.one_connection(first, shut=True)(server)
    assert hostile.seconds_of_a_request(server, "/readyz") < 1


def test_three_thousand_connections_take_nothing_from_a_probe(server: hostile.Address) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with hostile.flood(server, 3_000, first=b"GET /metrics HTTP/1.1\r\na: ") as opened:
        assert opened > 1_000, "this machine allows too few open files for the test"
        assert hostile.seconds_of_a_request(server, "/healthz") < 1
        assert hostile.seconds_of_a_request(server, "/metrics") < 1
        now = len(list(Path("/proc/self/fd").iterdir()))
        assert now - before <= health_server.MOST_CONNECTIONS + 8


def test_a_prober_keeps_its_connection(server: hostile.Address) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
    with hostile.connect(server) as prober:
        for _ in range(3):
            prober.sendall(request)
            assert prober.recv(4096).startswith(b"HTTP/1.1 200")


def test_what_is_no_http_leaves_nothing_in_the_log(
    server: hostile.Address, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        answer = hostile.one_connection(b"GET / HTTP/1.1\r\na: " + b"b" * 100_000 + b"\r\n\r\n")(server)
    assert isinstance(answer, bytes)
    assert answer.startswith(b"HTTP/1.1 400 ") or answer.startswith(b"HTTP/1.0 400 ")
    assert not [record for record in caplog.records if record.exc_info]
