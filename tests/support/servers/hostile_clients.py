"""Clients that want to keep an HTTP server from serving others: each begins on a socket and is never polite."""

from __future__ import annotations

import contextlib
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

Address = tuple[str, int]


def connect(server: Address, *, source: str = "127.0.0.2") -> socket.socket:
    """Connect from another address than the honest client's."""
    return socket.create_connection(server, timeout=20, source_address=(source, 0))


def send_forever(connection: socket.socket, piece: bytes, *, most: int = 64 << 20) -> int:
    """Send a piece again and again; return how many bytes the server took before it closed."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < most:
            connection.sendall(piece)
            sent += len(piece)
    return sent


def received_until_closed(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes; TimeoutError where it does not."""
    content = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(1 << 16):
            content += piece
    return content


def seconds_of_a_request(server: Address, path: str, *, tries: int = 5, source: str = "127.0.0.1") -> float:
    """Return the seconds of the quickest of some requests; all must succeed."""
    return min(_seconds(server, path, source) for _ in range(tries))


def _seconds(server: Address, path: str, source: str) -> float:
    began = time.monotonic()
    connection = http.client.HTTPConnection(*server, timeout=20, source_address=(source, 0))
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        assert response.status == 200
    finally:
        connection.close()
    return time.monotonic() - began


_FLOOD = """
import resource, socket, sys, time
host, port, count, first = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].encode()
most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
held, refused = [], 0
for number in range(min(count, most - 64)):
    try:
        held.append(socket.create_connection((host, port), timeout=10, source_address=("127.0.0.2", 0)))
        if first:
            held[-1].sendall(first)
    except OSError:
        refused += 1
print(len(held), refused, flush=True)
while True:
    time.sleep(0.2)
    for connection in held:
        try:
            connection.send(b"a")
        except OSError:
            pass
"""


@contextlib.contextmanager
def flood(server: Address, count: int, *, first: bytes = b"") -> Iterator[int]:
    """Hold connections open from another process, which drips bytes into each; yield how many it opened."""
    command = [sys.executable, "-c", _FLOOD, server[0], str(server[1]), str(count), first.decode()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        opened, _refused = process.stdout.readline().split()
        yield int(opened)
    finally:
        process.kill()
        process.wait()


Attack = Callable[[Address], bytes | int]
"""Attacks on one connection; returns what the server answered, or how many bytes it took."""


def one_connection(first: bytes, *, then: bytes = b"", shut: bool = False) -> Attack:
    """Return an attack that sends something, then something else for ever, or closes its direction."""

    def attack(server: Address) -> bytes | int:
        with connect(server) as connection:
            connection.sendall(first)
            if shut:
                connection.shutdown(socket.SHUT_WR)
            return send_forever(connection, then) if then else received_until_closed(connection)

    return attack
