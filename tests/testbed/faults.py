"""A proxy in front of an HTTP server that delays, refuses, cuts or loses what a test tells it to, or is away."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

Kind = Literal["delay", "status", "reset", "lost-answer", "cut-answer"]
_METHODS = (b"GET ", b"PUT ", b"HEAD ", b"POST ", b"DELETE ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """What happens to one request.

    `delay` waits `value` seconds, `status` answers `value`, `reset` drops the line before the server hears of it,
    `lost-answer` lets the server do it and drops its answer, `cut-answer` drops the line after `value` bytes of it.
    """

    kind: Kind
    value: float = 0


Decide = Callable[[str], Fault | None]
"""Called with each request line (`PUT /bucket/key HTTP/1.1`), from the proxy's thread."""


@dataclass(kw_only=True, slots=True)
class FaultProxy:
    """A running proxy; `decide` may be replaced at any time, `requests` lists the lines seen."""

    target: str
    decide: Decide = lambda _line: None
    endpoint: str = ""
    requests: list[str] = field(default_factory=list)
    _away: bool = False
    _loop: asyncio.AbstractEventLoop | None = None
    _clients: set[asyncio.StreamWriter] = field(default_factory=set)

    @contextmanager
    def away(self) -> Iterator[None]:
        """Drop all lines and every one that comes, encrypted ones too, as if there were no server."""
        assert self._loop is not None
        self._away = True
        self._loop.call_soon_threadsafe(self._drop_all)
        try:
            yield
        finally:
            self._away = False

    def _drop_all(self) -> None:
        for client in self._clients:
            client.transport.abort()

    def script(self, *faults: Fault | None, match: str = "") -> None:
        """Spend the faults one by one on requests whose line contains `match`; then all is well."""
        left = iter(faults)
        self.decide = lambda line: next(left, None) if match in line else None

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection until either side ends it or a fault does."""
        if self._away:
            writer.transport.abort()
            return
        self._clients.add(writer)
        try:
            await self._serve(reader, writer)
        finally:
            self._clients.discard(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host = urlsplit(self.target)
        with suppress(OSError, EOFError):
            upstream = await asyncio.open_connection(host.hostname, host.port)
            line = _Line(client=writer, server=upstream[1])
            try:
                up = asyncio.create_task(self._carry_requests(reader, line))
                down = asyncio.create_task(_carry_answers(upstream[0], line))
                _, pending = await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
                for task in pending:
                    task.cancel()
            finally:
                upstream[1].close()
        writer.close()

    async def _carry_requests(self, reader: asyncio.StreamReader, line: _Line) -> None:
        while data := await reader.read(1 << 16):
            if data.startswith(_METHODS):
                await self._apply(data, line)
            if line.client.is_closing():
                return
            line.server.write(data)
            await line.server.drain()

    async def _apply(self, data: bytes, line: _Line) -> None:
        request = data.split(b"\r\n", 1)[0].decode(errors="replace")
        self.requests.append(request)
        fault = self.decide(request)
        line.left = None
        if fault is None:
            return
        if fault.kind == "delay":
            await asyncio.sleep(fault.value)
        elif fault.kind == "status":
            head = f"HTTP/1.1 {int(fault.value)} Injected\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            line.client.write(head.encode())
            line.client.close()
        elif fault.kind == "reset":
            line.client.transport.abort()
        else:
            line.left = 0 if fault.kind == "lost-answer" else int(fault.value)


@dataclass(kw_only=True, slots=True)
class _Line:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    left: int | None = None
    """How many bytes of the answer still pass; None for all."""


async def _carry_answers(reader: asyncio.StreamReader, line: _Line) -> None:
    while data := await reader.read(1 << 16):
        if line.left is not None and data.startswith(b"HTTP/1.1 100"):
            line.client.write(data)  # "go on" is not the answer yet
            continue
        passed = data if line.left is None else data[: line.left]
        line.client.write(passed)
        await line.client.drain()
        if line.left is not None:
            line.left -= len(passed)
            if line.left <= 0:
                line.client.transport.abort()
                return


@contextmanager
def fault_proxy(target: str) -> Iterator[FaultProxy]:
    """Run a proxy in front of `target` in a thread of this process."""
    proxy = FaultProxy(target=target)
    loop = asyncio.new_event_loop()
    proxy._loop = loop
    thread = threading.Thread(target=loop.run_forever, name="fault-proxy", daemon=True)
    thread.start()
    starting = asyncio.start_server(proxy.serve_connection, "127.0.0.1", 0)
    server = asyncio.run_coroutine_threadsafe(starting, loop).result(240)
    proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_cancel_rest(), loop).result(240)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(240)
        loop.close()


async def _cancel_rest() -> None:
    rest = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)
